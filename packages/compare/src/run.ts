import { existsSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Example, GraftError, writeAtomically, readObject } from '@graft-peft/core'
import { loadConfig, type Registry, train, type TrainConfig } from '@graft-peft/core/app'
import { FolderLock, type RunInputs, type Forecast } from '@graft-peft/core/inside'
import { stepsWithin } from './budget.js'
import type { RunSpec } from './comparison.js'
import { evaluateBase } from './base.js'
import { forgetting } from './forgetting.js'
import { type RunLogged, readLog } from './run-log.js'
import { resultOf } from './result.js'
import type { RunResult } from './results.js'
import { answers, someExamples } from './samples.js'
import { type Confinement, requireConfined } from './confine.js'
import { untouched } from './untouched.js'
import { makeFolder } from '@graft-peft/core/inside'

/** What a run tells while it goes on. */
export interface RunHooks {
  onProgress(progress: { step: number; total: number; loss: number }): void
  signal?: AbortSignal
  /** for a run that a queue handed out: what it may reach */
  confined?: Confinement
}

/** Writes what is to be done into a run's folder, for a process here or elsewhere to do. */
export function layOut(folder: string, spec: RunSpec): void {
  makeFolder(folder)
  writeAtomically(join(folder, 'config.json'), `${JSON.stringify(spec.config, null, 2)}\n`)
  writeAtomically(join(folder, 'run.json'), `${JSON.stringify(spec, null, 2)}\n`)
}
/** What a run left. Throws BAD_RESULTS. */
export const readResult = (folder: string): RunResult =>
  resultOf(readObject(resultFile(folder), 'BAD_RESULTS'), resultFile(folder))
export const resultFile = (folder: string): string => join(folder, 'result.json')

/**
 * Does the run that a folder describes, from its checkpoint if it has one, and leaves a result there: measurements, or why it failed.
 * Nothing is left when it is stopped, or when another process has taken the run over meanwhile. Another process that is at it is waited for.
 * Throws only what is no fault of the run: BAD_RUN for a folder without one, errors of the disk.
 */
export async function performRun(
  folder: string,
  registry: Registry,
  hooks: RunHooks,
): Promise<RunResult | undefined> {
  const spec = readObject(join(folder, 'run.json'), 'BAD_RUN') as unknown as RunSpec
  const lock = await FolderLock.wait(folder, hooks.signal)
  if (!lock) return undefined
  try {
    if (existsSync(resultFile(folder))) return readResult(folder)
    const result = await attempted(spec, folder, registry, hooks)
    if (!result) return undefined
    lock.require()
    writeAtomically(resultFile(folder), JSON.stringify(result))
    // A thousand runs' checkpoints would outweigh their adapters many times over.
    if (result.status === 'done')
      rmSync(join(spec.config.output, 'checkpoints'), { recursive: true, force: true })
    return result
  } catch (error) {
    // Another process has this run: what comes of it is that one's to say.
    if ((error as GraftError).code === 'OUTPUT_TAKEN') return undefined
    throw error
  } finally {
    lock.release()
  }
}

async function attempted(
  spec: RunSpec,
  folder: string,
  registry: Registry,
  hooks: RunHooks,
): Promise<RunResult | undefined> {
  registry.register('method', untouched, { package: '@graft-peft/compare', version: '' })
  try {
    if (hooks.confined) requireConfined(folder, hooks.confined)
    return await measured(spec, folder, registry, hooks)
  } catch (error) {
    const { code, message, stack } = error as GraftError
    if (code === 'OUTPUT_TAKEN') throw error
    const reason = error instanceof GraftError ? `${message} [${code}]` : `${stack}`
    return { ...named(spec), status: 'failed', reason }
  }
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
  const { adapter, start, asked, peak, diverged } = found
  const log = readLog(join(config.output, 'log.jsonl'))
  return {
    ...named(spec),
    status: 'done',
    ...costs(start, log, adapter, peak),
    ...log.scores,
    diverged,
    forgetting: await forgetting(spec.forgetting, config, adapter, registry),
    answers: await answers(asked, start.inputs, config, adapter, registry),
  }
}

interface Started {
  inputs: RunInputs
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
  diverged: boolean
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
    asked = someExamples(info.inputs, samples)
  }
  const onStep = ({ step, total, loss }: { step: number; total: number; loss: number }) =>
    onProgress({ step, total, loss })
  const { finished, adapter, diverged } = await train(
    config,
    registry,
    { onStart, onStep, signal },
    { resume, overwrite: !resume, takeOver: true },
  )
  const peak = process.resourceUsage().maxRSS * 1024
  if (!finished) return undefined
  return { adapter, start: start as Started, asked: (await asked) ?? [], peak, diverged }
}

/** What a run took. Work is that of the largest batch, in proportion to the tokens seen. */
function costs(
  { inputs: { model, train: data }, trainable, compileSeconds, forecast }: Started,
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
