import { createHash } from 'node:crypto'
import type { Evaluation } from '@graft-peft/core/app'
import { type EvaluationLine, readLog as readLines, type StepLine } from '@graft-peft/core/inside'
import type { RunResult } from './results.js'

/** A run's log, read back. */
export interface RunLogged {
  steps: StepLine[]
  scores: Pick<RunResult, 'before' | 'after' | 'order' | 'curve' | 'validation' | 'ranks'>
}
/** How many points a curve keeps. */
const points = 120

/** Throws BAD_LOG naming file and line. */
export function readLog(path: string): RunLogged {
  const lines = readLines(path)
  const steps = lines.filter((l): l is StepLine => l.phase === undefined)
  const evaluations = lines.filter((l): l is EvaluationLine => 'part' in l)
  const scores = (phase: string) =>
    Object.fromEntries(
      evaluations
        .filter((e) => e.phase === phase)
        .map(({ step: _, phase: __, part, ...values }) => [part, values as unknown as Evaluation]),
    )
  const validation = evaluations
    .filter((e) => e.phase === 'during')
    .map(({ phase: _, part: __, ...values }) => values as unknown as { step: number } & Evaluation)
  return {
    steps,
    scores: {
      before: scores('before'),
      after: scores('after'),
      order: orderOf(steps),
      curve: thinned(steps),
      validation,
      ranks: rankHistory(steps),
    },
  }
}

const orderOf = (steps: readonly StepLine[]): string =>
  createHash('sha256')
    .update(steps.map((s) => s.batch).join())
    .digest('hex')
    .slice(0, 16)

function thinned(steps: readonly StepLine[]): [number, number][] {
  const size = Math.ceil(steps.length / points)
  const groups = Array.from({ length: Math.ceil(steps.length / size) }, (_, k) =>
    steps.slice(k * size, (k + 1) * size),
  )
  return groups.map((group) => [
    group[group.length - 1].step,
    group.reduce((sum, s) => sum + (s.loss ?? Number.NaN), 0) / group.length,
  ])
}

/** Ranks whenever they changed, at most about forty times. */
function rankHistory(steps: readonly StepLine[]): RunResult['ranks'] {
  const changed = steps.filter(
    (s, i) =>
      s.ranks &&
      (i === 0 || i === steps.length - 1 || JSON.stringify(s.ranks) !== JSON.stringify(steps[i - 1].ranks)),
  )
  if (changed.length === 0) return undefined
  const size = Math.ceil(changed.length / 40)
  return changed
    .filter((_, i) => i % size === 0 || i === changed.length - 1)
    .map(({ step, ranks }) => ({ step, ranks: ranks as Record<string, number> }))
}
