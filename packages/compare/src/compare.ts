import { existsSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { GraftError, type Job, type JobProgress } from '@graft-peft/core'
import { loadConfig, type Registry } from '@graft-peft/core/app'
import { FolderLock, forecastRun, planRun, readInputs } from '@graft-peft/core/inside'
import type { Comparison, RunSpec } from './comparison.js'
import { execute } from './execute.js'
import { languageModel } from './forgetting.js'
import { Results, type RunResult } from './results.js'
import { layOut, readResult, resultFile } from './run.js'
import { untouched } from './untouched.js'
import { makeFolder } from '@graft-peft/core/inside'

export interface CompareHooks {
  /** how many runs there are, and how many of them are done already */
  onStart(info: { total: number; done: number }): void
  onChecked(label: string, predictedBytes: number): void
  onProgress(spec: RunSpec, progress: JobProgress): void
  onResult(spec: RunSpec, result: RunResult): void
  onNotice(text: string): void
  signal: AbortSignal
}

const silent: CompareHooks = {
  onStart() {},
  onChecked() {},
  onProgress() {},
  onResult() {},
  onNotice() {},
  signal: new AbortController().signal,
}

export const resultsFile = ({ shared }: Comparison): string => join(shared.output, 'results.jsonl')

/**
 * Does all runs of a comparison that have no result yet; failed ones are tried again. Each entry is attached and compiled first, so that
 * what can't work is said before anything runs: that entry then has a row that says why. `program` is the command line's script.
 * Throws OUTPUT_IN_USE while another comparison works in the folder, BAD_RESULTS for a damaged results.jsonl.
 */
export async function compare(
  comparison: Comparison,
  registry: Registry,
  program: string,
  told: Partial<CompareHooks> = {},
): Promise<Results> {
  const lock = FolderLock.take(comparison.shared.output)
  try {
    return await perform(comparison, registry, program, { ...silent, ...told })
  } finally {
    lock.release()
  }
}

async function perform(
  comparison: Comparison,
  registry: Registry,
  program: string,
  hooks: CompareHooks,
): Promise<Results> {
  const results = new Results(resultsFile(comparison))
  const waiting = comparison.runs.filter(({ id }) => results.get(id)?.status !== 'done')
  hooks.onStart({ total: comparison.runs.length, done: comparison.runs.length - waiting.length })
  if (waiting.length === 0) return results
  const keep = (spec: RunSpec, result: RunResult) => {
    results.add(result)
    hooks.onResult(spec, result)
  }
  const memory = await check(comparison, waiting, registry, hooks, keep)
  const able = waiting.filter((spec) => memory.has(spec.label))
  const specs = new Map(able.map((spec) => [spec.id, spec]))
  const jobs = able.map((spec) => prepareJob(comparison, spec, memory.get(spec.label) as number))
  await comparison.launcher.launch(jobs, comparison.launcherOptions, {
    execute: (job, signal, onProgress) => execute(program, job, signal, onProgress),
    onProgress: ({ id }, progress) => hooks.onProgress(specs.get(id) as RunSpec, progress),
    onEnd: ({ id, folder }, { ok, reason = '' }) => {
      const spec = specs.get(id) as RunSpec
      if (ok) keep(spec, readResult(folder))
      else if (!hooks.signal.aborted) keep(spec, failed(spec, reason))
    },
    onNotice: hooks.onNotice,
    signal: hooks.signal,
  })
  return results
}
const methodName = ({ config: { method } }: RunSpec): string =>
  typeof method === 'string' ? method : method.name
const failed = (spec: RunSpec, reason: string): RunResult => ({
  id: spec.id,
  label: spec.label,
  method: methodName(spec),
  seed: spec.seed,
  learning_rate: spec.learning_rate,
  status: 'failed',
  reason,
})

/** A run's folder with what is to be done; a result that an earlier failure left there is forgotten. */
function prepareJob({ shared }: Comparison, spec: RunSpec, memory: number): Job {
  const folder = join(shared.output, 'runs', spec.id)
  const left = existsSync(resultFile(folder)) ? readResult(folder) : undefined
  if (left?.status !== 'done') {
    rmSync(resultFile(folder), { force: true })
    layOut(folder, spec)
  }
  return { id: spec.id, folder, threads: shared.threads ?? availableParallelism(), memory }
}

/** Bytes that each entry will take, by label. An entry that can't be attached is left out, with results that say why. */
async function check(
  comparison: Comparison,
  waiting: readonly RunSpec[],
  registry: Registry,
  hooks: CompareHooks,
  keep: (spec: RunSpec, result: RunResult) => void,
): Promise<Map<string, number>> {
  const memory = new Map<string, number>()
  if (!registry.all('method').some((m) => m.name === untouched.name))
    registry.register('method', untouched, { package: '@graft-peft/compare', version: '' })
  const scratch = join(comparison.shared.output, 'check')
  makeFolder(scratch)
  try {
    const [first] = waiting
    layOut(scratch, first)
    const loaded = await loadConfig(join(scratch, 'config.json'), registry)
    const config = {
      ...loaded,
      output: scratch,
      training: { ...loaded.training, max_steps: first.budget.steps ?? loaded.training.max_steps },
    }
    const inputs = await readInputs(config, registry)
    checkForgetting(first, config, registry)
    for (const label of new Set(waiting.map((w) => w.label))) {
      const own = waiting.filter((w) => w.label === label)
      try {
        layOut(scratch, own[0])
        const { method, methodOptions } = await loadConfig(join(scratch, 'config.json'), registry)
        const bytes =
          method.name === untouched.name ? 0 : await predicted({ ...config, method, methodOptions }, inputs)
        memory.set(label, bytes)
        hooks.onChecked(label, bytes)
      } catch (error) {
        if (!(error instanceof GraftError)) throw error
        for (const spec of own) keep(spec, failed(spec, `${error.message} [${error.code}]`))
      }
    }
    inputs.close()
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  return memory
}
async function predicted(
  config: Parameters<typeof planRun>[0],
  inputs: Parameters<typeof planRun>[1],
): Promise<number> {
  const plan = await planRun(config, inputs)
  const steps = plan.step.forecast(plan.step.compile())
  return (await forecastRun(plan, steps, inputs)).peak
}

/** Only what writes texts can forget how to. */
function checkForgetting(
  { forgetting }: RunSpec,
  config: Parameters<typeof languageModel>[0],
  registry: Registry,
): void {
  if (!forgetting) return
  try {
    languageModel(config, registry)
  } catch (cause) {
    throw new GraftError(
      'NO_LANGUAGE_MODEL',
      `compare.forgetting measures the loss on a text, but ${config.model} is no language model: ${(cause as Error).message} Leave compare.forgetting out.`,
      { cause },
    )
  }
}
