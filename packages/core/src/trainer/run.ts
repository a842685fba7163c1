import type { Graph } from '@graft-peft/onnx'
import { type Forecast, withEvaluation } from '../compile/forecast.js'
import type { TrainConfig } from '../config/config.js'
import type { BatchLimit } from '../data/batches.js'
import { largest } from '../data/dataset.js'
import type { Example } from '../data/example.js'
import { startOf } from '../adapter/continue.js'
import { GraftError } from '../errors.js'
import { classCount } from '../objective/objective.js'
import type { SessionOptions } from '../runtime/session.js'
import type { Tensors } from '../runtime/tensor.js'
import { Forward } from '../step/forward.js'
import { type Attaching, Step, type StepSettings } from '../step/step.js'
import { checkIntegers } from '../runtime/integers.js'
import type { RunInputs } from './inputs.js'
import { prepareMethod } from './prepare-method.js'
import { roundedPlan } from './rounding.js'

/** What follows from a config and its data: the step, and where it runs. */
export interface RunPlan {
  step: Step
  session: SessionOptions
  /** batches of an evaluation: as many tokens as a step's largest */
  evaluated: BatchLimit
  /** whether training and evaluating give their sessions back to one another: a small model's stay open, a device holds its own state */
  inTurns: boolean
}

/** Throws BAD_CONFIG, and what attaching the method throws. */
export async function planRun(
  config: TrainConfig,
  inputs: RunInputs,
  how: Pick<Attaching, 'separate'> = {},
): Promise<RunPlan> {
  if (config.device === 'webgpu' && config.precision === 'bfloat16')
    throw new GraftError(
      'BAD_CONFIG',
      'precision: bfloat16 is no type of WebGPU. Choose float16, which most adapters have, or float32.',
    )
  if (config.precision === 'int8') checkIntegers(config.device)
  const session = {
    device: config.device,
    threads: config.threads ?? undefined,
    ...(inputs.model.parameterCount < smallModel ? { prepack: true } : {}),
  }
  const settings = { ...(await settingsOf(config, inputs)), prepack: session.prepack }
  const attaching = { ...(await attachingOf(config, inputs)), ...how }
  const step = Step.of(inputs.model, attaching, settings)
  const inTurns = config.device === 'cpu' && !session.prepack
  return { step, session, evaluated: limitOf(step, config.training.batch_size), inTurns }
}

/** What is short may be evaluated more at a time, unless rows look at one another or each has tokens of the method's. */
const shortRows = 32
function limitOf({ adapted, attaching, settings: { sample } }: Step, batch: number): BatchLimit {
  const alone = attaching.objective.rows || adapted.virtualTokens.count > 0
  const size = Math.max(1, sample[0].ids.length + (sample[0].decoderIds?.length ?? 0))
  return { rows: alone ? batch : Math.max(batch, shortRows), tokens: batch * size }
}

/** What a run will take: its steps, and evaluating validation and test data in between. */
export async function forecastRun(
  { step, session, evaluated, inTurns }: RunPlan,
  forecast: Forecast,
  inputs: RunInputs,
  pass = Forward.of(inputs.model, forwardOf(step), inputs.pad),
): Promise<Forecast> {
  const parts = [inputs.validation, inputs.test]
  const own = { ...forecast, runtime: forecast.runtime + runBytes, peak: forecast.peak + runBytes }
  return withEvaluation(own, await pass.forecast(parts, evaluated, session.prepack), inTurns)
}
/** Tokenizer, data and log, beside what steps take (measured on models of 3, 25 and 135 million parameters). */
const runBytes = 20e6
/** What the forward pass is attached with, to go with a step's parameters. */
export const forwardOf = ({ adapted, attaching }: Step): Attaching => ({
  ...attaching,
  separate: adapted.variables.separate,
})

async function attachingOf(config: TrainConfig, inputs: RunInputs): Promise<Attaching> {
  const { objective, totalSteps, labels, reports } = inputs
  const perToken = objective.answers === 'tokens' || objective.answers === 'text'
  return {
    method: config.method,
    methodOptions: config.methodOptions,
    objective,
    labels: classCount(objective, labels),
    expectedRows: config.training.batch_size * (perToken ? (reports.train?.longest ?? 1) : 1),
    totalSteps,
    seed: config.seed,
    precision: config.precision,
    ...(config.adapter
      ? { stored: config.adapter.tensors, inference: true }
      : { prepared: await prepareMethod(config, inputs) }),
  }
}

async function settingsOf(config: TrainConfig, { pad, train }: RunInputs): Promise<StepSettings> {
  const { batch_size, gradient_accumulation, max_grad_norm } = config.training
  return {
    pad,
    optimizer: config.optimizer,
    clip: max_grad_norm,
    accumulate: gradient_accumulation > 1,
    loop: stepsPerRun(config) > 1,
    memory: config.memory,
    sample: await largest(train, batch_size),
  }
}

/**
 * On a GPU what is updated would cross to the host and back each step; here a run per step is as fast and
 * tells of each at once.
 */
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
export async function compileRun(config: TrainConfig, inputs: RunInputs): Promise<CompiledRun> {
  const { step } = await roundedPlan(await planRun(config, inputs, { separate: false }), config)
  const state = step.initialState(startOf(config.adapter, step.adapted, config.seed))
  const feedsOf = (t: number, rate: number, examples: readonly Example[]) => {
    const part = step.part(examples)
    return step.feeds(part, { t, rate, k: 0, parts: 1, count: part.supervision.count })
  }
  return { graph: step.compile(), state, feedsOf }
}

/**
 * Below this many parameters (64 MB) a packed copy of the weights costs nothing worth saving and makes small
 * batches faster.
 */
const smallModel = 16e6
