import type { Graph } from '@graft-peft/onnx'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { GraftError } from '../errors.js'
import { type Example } from '../data/example.js'
import { outputs } from '../objective/objective.js'
import { makeOptimizer } from '../optimizer/table.js'
import type { SessionOptions } from '../runtime/session.js'
import type { Tensors } from '../runtime/tensor.js'
import { largest } from '../data/dataset.js'
import type { TrainConfig } from '../config/config.js'
import type { Prepared } from './prepare.js'
import { prepareMethod } from './prepare-method.js'
import {
  adaptForTraining,
  compileStepper,
  feedsOf,
  initialState,
  partOf,
  type StepperOptions,
} from '../step/stepping.js'

/** What follows from a config and its data: the adapted model, and how its step is compiled and run. */
export interface RunPlan {
  options: Omit<AdaptOptions, 'training'>
  adapted: Adapted
  stepping: StepperOptions
  session: SessionOptions
}

export async function planRun(
  config: TrainConfig,
  prepared: Prepared,
  attach = adaptForTraining,
): Promise<RunPlan> {
  const { model, objective, pad, totalSteps, labels, reports } = prepared
  if (config.device === 'webgpu' && config.precision === 'bfloat16')
    throw new GraftError(
      'BAD_CONFIG',
      'precision: bfloat16 is no type of WebGPU. Choose float16, which most adapters have, or float32.',
    )
  const { batch_size, gradient_accumulation, max_grad_norm, optimizer } = config.training
  const perExample =
    objective.task === 'causal-lm' || objective.task === 'sequence-to-sequence'
      ? (reports.train?.longest ?? 1)
      : 1
  const rows = batch_size * perExample
  const options: Omit<AdaptOptions, 'training'> = {
    method: config.method,
    config: config.methodOptions,
    objective,
    labels: outputs(objective, labels),
    rows,
    totalSteps,
    seed: config.seed,
    precision: config.precision,
    prepared: await prepareMethod(config, prepared),
  }
  const adapted = attach(model, options)
  const session = {
    device: config.device,
    threads: config.threads ?? undefined,
    prepack: model.parameterCount < smallModel,
  }
  const stepping: StepperOptions = {
    ...session,
    base: model,
    objective,
    rows,
    pad,
    seed: config.seed,
    totalSteps,
    optimizer: makeOptimizer({ ...config.training, name: optimizer }),
    clip: max_grad_norm,
    precision: config.precision,
    accumulate: gradient_accumulation > 1,
    loop: stepsPerRun(config) > 1,
    memory: config.memory,
    sample: await largest(prepared.train, batch_size),
  }
  return { options, adapted, stepping, session }
}

/** On a GPU what is updated would cross to the host and back each step; here a run per step is as fast and tells of each at once. */
const onGpu = 16
export function stepsPerRun({ device, training: { steps_per_run } }: TrainConfig): number {
  // WebGPU has no Loop, and keeps its buffers from run to run.
  if (device === 'webgpu') return 1
  return steps_per_run ?? (device === 'cuda' ? onGpu : 1)
}

export interface CompiledRun {
  graph: Graph
  /** vectors that the first step takes */
  state: Record<string, Float32Array>
  /** what step t is fed for one batch, but for the state */
  feedsOf(t: number, rate: number, examples: readonly Example[]): Tensors
}
/** A run's compiled step without a session, for others to run: optimiser and all, however large. */
export async function compileRun(config: TrainConfig, prepared: Prepared): Promise<CompiledRun> {
  const { adapted, stepping } = await planRun(config, prepared, (model, options) =>
    adapt(model, { ...options, training: true }),
  )
  const state = initialState(adapted, stepping, adapted.variables.initial(config.seed))
  const feeds = (t: number, rate: number, examples: readonly Example[]) => {
    const part = partOf(adapted, stepping, examples)
    return feedsOf(adapted, stepping, part, { t, rate, k: 0, parts: 1, count: part.supervision.count })
  }
  return { graph: compileStepper(adapted, stepping), state, feedsOf: feeds }
}

/** Below this many parameters (64 MB) a packed copy of the weights costs nothing worth saving and makes small batches faster. */
const smallModel = 16e6
