import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Example, GraftError, writeAtomically } from '@graft-peft/core'
import { loadConfig, type Registry, train, type TrainConfig } from '@graft-peft/core/app'
import { type Prepared, type Forecast } from '@graft-peft/core/inside'
import { stepsWithin } from './budget.js'
import type { RunSpec } from './comparison.js'
import { evaluateBase } from './base.js'
import { forgetting } from './forgetting.js'
import { type RunLogged, readLog } from './run-log.js'
import type { RunResult } from './results.js'
import { answers, firstExamples } from './samples.js'
import { untouched } from './untouched.js'

/** What a run tells while it goes on. */
export interface RunHooks {
  onProgress(progress: { step: number; total: number; loss: number }): void
  signal?: AbortSignal
}

/** Writes what is to be done into a run's folder, for a process here or elsewhere to do. */
export function layOut(folder: string, spec: RunSpec): void {
  mkdirSync(folder, { recursive: true })
  writeAtomically(join(folder, 'config.json'), `${JSON.stringify(spec.config, null, 2)}\n`)
  writeAtomically(join(folder, 'run.json'), `${JSON.stringify(spec, null, 2)}\n`)
}
export const resultFile = (folder: string): string => join(folder, 'result.json')

/**
 * Does the run that a folder describes, from its checkpoint if it has one, and leaves a result there: measurements, or why it failed.
 * Nothing is left when it is stopped. Throws only what is no fault of the run (a folder without a run).
 */
export async function performRun(
  folder: string,
  registry: Registry,
  hooks: RunHooks,
): Promise<RunResult | undefined> {
  const spec = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')) as RunSpec
  registry.register('method', untouched, { package: '@graft-peft/compare', version: '' })
  let result: RunResult | undefined
  try {
    result = await measured(spec, folder, registry, hooks)
  } catch (error) {
    const { code, message, stack } = error as GraftError
    result = {
      ...named(spec),
      status: 'failed',
      reason: error instanceof GraftError ? `${message} [${code}]` : `${stack}`,
    }
  }
  if (result) writeAtomically(resultFile(folder), JSON.stringify(result))
  // A thousand runs' checkpoints would outweigh their adapters many times over.
  if (result?.status === 'done')
    rmSync(join(spec.config.output, 'checkpoints'), { recursive: true, force: true })
  return result
}
const named = ({ id, label, seed, learning_rate, config: { method } }: RunSpec) => ({
  id,
  label,
  method: typeof method === 'string' ? method : method.name,
  seed,
  learning_rate,
})

async function measured(
  spec: RunSpec,
  folder: string,
  registry: Registry,
  hooks: RunHooks,
): Promise<RunResult | undefined> {
  const config = await loadConfig(join(folder, 'config.json'), registry)
  if (config.method.name === untouched.name) return baseResult(spec, config, registry)
  const training = { ...config.training, max_steps: await stepsWithin(spec.budget, config, folder, registry) }
  const found = await trained({ ...config, training }, spec.samples, registry, hooks)
  if (!found) return undefined
  const { adapter, start, asked, peak } = found
  const log = readLog(join(config.output, 'log.jsonl'))
  return {
    ...named(spec),
    status: 'done',
    ...costs(start, log, adapter, peak),
    ...log.scores,
    forgetting: await forgetting(spec.forgetting, config, adapter, registry),
    answers: await answers(asked, start.prepared, config, adapter, registry),
  }
}

interface Started {
  prepared: Prepared
  trainable: number
  compileSeconds: number
  forecast: Forecast
}
interface Trained {
  adapter: string
  start: Started
  /** what it is asked afterwards, taken while the data was at hand */
  asked: readonly Example[]
  peak: number
}
async function trained(
  config: TrainConfig,
  samples: number,
  registry: Registry,
  { onProgress, signal }: RunHooks,
): Promise<Trained | undefined> {
  const resume = existsSync(join(config.output, 'checkpoints/last.safetensors'))
  let start: Started | undefined
  let asked: Promise<Example[]> | undefined
  const onStart = (info: Started) => {
    start = info
    asked = firstExamples(info.prepared, samples)
  }
  const onStep = ({ step, total, loss }: { step: number; total: number; loss: number }) =>
    onProgress({ step, total, loss })
  const { finished, adapter } = await train(
    config,
    registry,
    { onStart, onStep, signal },
    { resume, overwrite: !resume },
  )
  const peak = process.resourceUsage().maxRSS * 1024
  return finished ? { adapter, start: start as Started, asked: (await asked) ?? [], peak } : undefined
}

/** What a run took. Work is that of the largest batch, in proportion to the tokens seen. */
function costs(
  { prepared: { model, train: data }, trainable, compileSeconds, forecast }: Started,
  log: RunLogged,
  adapter: string,
  peak: number,
) {
  const seconds = log.steps.map((s) => s.seconds)
  const tokens = log.steps.reduce((sum, s) => sum + s.tokens, 0)
  const total = seconds.reduce((a, b) => a + b, 0)
  const largestStep = Math.max(...log.steps.map((s) => s.tokens))
  return {
    parameters: model.parameterCount,
    trainable,
    adapter_bytes: statSync(join(adapter, 'adapter_model.safetensors')).size,
    examples: data.length,
    steps: seconds.length,
    tokens,
    compile_s: compileSeconds,
    step_s: median(seconds),
    train_s: total,
    tokens_per_s: tokens / total,
    peak_bytes: peak,
    predicted_bytes: forecast.peak,
    flops: tokens > 0 ? (forecast.flops * tokens) / largestStep : forecast.flops * seconds.length,
  }
}
const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

async function baseResult(spec: RunSpec, config: TrainConfig, registry: Registry): Promise<RunResult> {
  const { parameters, before } = await evaluateBase(config, registry)
  const kept = await forgetting(spec.forgetting, config, undefined, registry)
  return { ...named(spec), status: 'done', parameters, trainable: 0, before, after: before, forgetting: kept }
}
