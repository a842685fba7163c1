import type { TrainResult } from './hooks.js'
import type { LogLine } from '../files/log.js'
import { GraftError } from '../errors.js'
import type { Metric } from '../metric/metric.js'
import type { Evaluation } from '../step/evaluator.js'

/**
 * Where a run stands between two steps. Batches and dropout masks are functions of the seed and this, so it
 * is all there is.
 */
export interface Progress {
  /** optimiser steps done */
  step: number
  /** the evaluation whose parameters are kept: its step, its metric so that higher is better, its loss */
  best: { step: number; metric: number; loss: number } | null
  /** evaluations since the metric last rose */
  stale: number
  /** early stopping has ended the run */
  stopped: boolean
}
export const beginning: Progress = { step: 0, best: null, stale: 0, stopped: false }

/**
 * A run's progress after an evaluation. Of equal metrics the one of the lower loss is kept; early stopping
 * goes by the metric alone. With `settled` false the parameters can't be kept yet. Throws NOT_FINITE.
 */
export function judged(
  { step, best, stale }: Progress,
  found: Evaluation,
  { name, better }: Metric,
  { settled, patience }: { settled: boolean; patience: number | null },
): { progress: Progress; improved: boolean } {
  const metric = better === 'higher' ? found[name] : -found[name]
  if (!Number.isFinite(metric) || !Number.isFinite(found.loss))
    throw new GraftError(
      'NOT_FINITE',
      `The validation ${Number.isFinite(found.loss) ? name : 'loss'} after step ${step} is ${Number.isFinite(found.loss) ? found[name] : found.loss}: training diverged. Lower training.learning_rate.`,
    )
  const rose = settled && (best === null || metric > best.metric)
  const improved = rose || (settled && metric === best?.metric && found.loss < best.loss)
  const waited = rose || !settled ? 0 : stale + 1
  return {
    progress: {
      step,
      best: improved ? { step, metric, loss: found.loss } : best,
      stale: waited,
      stopped: patience !== null && waited >= patience,
    },
    improved,
  }
}

/**
 * Whether a run's loss rose: the mean of its last fifth is twice that of its first three steps, or lies above
 * that of its first fifth by a tenth and by three standard errors of the difference, so that noise from batch
 * to batch is no alarm. Returns both means.
 */
export function rise(losses: readonly number[]): { from: number; to: number } | undefined {
  if (losses.length < 10) return undefined
  const count = Math.ceil(losses.length / 5)
  const [first, start, end] = [losses.slice(0, 3), losses.slice(0, count), losses.slice(-count)].map(moments)
  if (end.mean > 2 * first.mean) return { from: first.mean, to: end.mean }
  const error = Math.sqrt((start.variance + end.variance) / count)
  const difference = end.mean - start.mean
  return difference > Math.max(0.1 * start.mean, 3 * error) ? { from: start.mean, to: end.mean } : undefined
}
function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0)
  return { mean, variance: squares / Math.max(1, values.length - 1) }
}

/** How a run went, its first part from its log where it was resumed. */
export function outcomeOf(
  { step, best, stopped }: Progress,
  entries: readonly LogLine[],
  totalSteps: number,
  { before, after }: Pick<TrainResult, 'before' | 'after'>,
): Omit<TrainResult, 'finished' | 'adapter'> {
  const rose = rise(entries.filter((e) => e.phase === undefined).map((e) => e.loss as number))
  const first = entries.find((e) => e.phase === 'before' && e.part === 'validation')
  const start = first?.loss as number | undefined
  const gained = start !== undefined && (after.validation ?? before.validation)?.loss < start
  return {
    step,
    kept: best?.step ?? step,
    stoppedEarly: stopped && step < totalSteps,
    rose,
    diverged: rose !== undefined && !gained,
    before,
    after,
  }
}
