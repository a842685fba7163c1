import {
  type Bindings,
  type FrozenCut,
  type Graph,
  type MemoryMode,
  type Precision,
  splitFrozen,
} from '@graft-peft/onnx'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { initialScaling, scalingName } from '../compile/loss-scale.js'
import { predict, type Prediction } from '../compile/forecast.js'
import { compileSeparate, compileStep, next } from '../compile/step.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { Random } from '../numbers/random.js'
import type { Model } from '../model/model.js'
import type { Batch, Example } from '../data/example.js'
import type { Objective, Supervision } from '../objective/objective.js'
import type { Optimizer } from '../optimizer/optimizer.js'
import type { SessionOptions } from '../runtime/session.js'
import { float32, scalar, type Tensors } from '../runtime/tensor.js'
import { chunksOf } from './evaluator.js'
import { nothingFrozen } from './frozen-prefix.js'

export interface StepperOptions extends SessionOptions {
  base: Model
  objective: Objective
  optimizer: Optimizer
  clip: number
  accumulate: boolean
  /** what the backward pass keeps */
  memory: MemoryMode
  /** float32 when left out */
  precision?: Precision
  /** a batch as large as those to come, for the memory's plan */
  sample: readonly Example[]
  rows: number
  pad: number
  seed: number
  totalSteps: number
  /** whether several steps are to be one run: what is updated then stays on the device between them */
  loop?: boolean
  /** Is given the part of the step that never changes, and prepares the examples' own share of it: they then carry it in `frozen`. */
  freeze?(cut: FrozenCut): Promise<void>
}

/** One batch of a step, padded, with its targets. */
export interface Part {
  examples: readonly Example[]
  batch: Batch
  supervision: Supervision
}
export function partOf(
  { virtualTokens }: Adapted,
  { objective, pad, base, rows }: StepperOptions,
  examples: readonly Example[],
): Part {
  const batch = {
    ...batchOf(objective.rows?.(examples) ?? examples, virtualTokens, pad),
    sources: examples.length,
  }
  return { examples, batch, supervision: objective.supervise(batch, chunksOf(base, rows)) }
}

/** Where a batch stands: step t, batch k of `parts`, `count` supervised rows in all of them. */
export interface StepPlace {
  t: number
  rate: number
  k: number
  parts: number
  count: number
}
/** All that a run of the step is fed, but for the state vectors. */
export function feedsOf(
  { adapter }: Adapted,
  { base, pad, optimizer, totalSteps, seed }: StepperOptions,
  { batch, supervision }: Part,
  { t, rate, k, parts, count }: StepPlace,
): Tensors {
  return {
    ...modelFeeds(base.graph.inputs, batch, pad),
    ...supervision.feeds,
    inverse_count: scalar(1 / count),
    penalty_share: scalar(1 / parts),
    ...(adapter.afterStep ? { method_scalars: float32(adapter.afterStep.scalars(t, totalSteps)) } : {}),
    scalars: float32(optimizer.scalars(t, rate)),
    dropout_seed: dropoutSeed(seed, t, k),
  }
}
/** Numbers for the symbols of a step's inputs, when it is fed the sample. */
export function sampleSizes(adapted: Adapted, options: StepperOptions): Bindings {
  const feeds = feedsOf(adapted, options, partOf(adapted, options, options.sample), {
    t: 1,
    rate: 0,
    k: 0,
    parts: 1,
    count: 1,
  })
  const named = adapted.model.graph.inputs.flatMap(({ name, shape }) =>
    (shape ?? []).map((d, i) => [d, feeds[name]?.shape[i]] as const),
  )
  return Object.fromEntries(
    named.filter((pair): pair is [string, number] => typeof pair[0] === 'string' && pair[1] !== undefined),
  )
}
export function compileStepper(adapted: Adapted, options: StepperOptions): Graph {
  const keeping = { mode: options.memory, sizes: sampleSizes(adapted, options) }
  return adapted.variables.separate
    ? compileSeparate(adapted, keeping)
    : compileStep(adapted, { ...options, keeping, scaled: isScaled(options) })
}
/** Throws NO_FROZEN_PREFIX where nothing below the adapter is frozen, or examples don't go through the model one by one. */
export function cutFrozen(graph: Graph, adapted: Adapted, options: StepperOptions): FrozenCut {
  const { base, objective } = options
  const cut = objective.rows
    ? undefined
    : splitFrozen(graph, new Set(base.graph.inputs.map((v) => v.name)), sampleSizes(adapted, options))
  if (!cut) throw nothingFrozen()
  return cut
}
/** Memory and work of a compiled step, before it runs. */
export const predictStep = (graph: Graph, adapted: Adapted, options: StepperOptions): Prediction =>
  predict(graph, sampleSizes(adapted, options), adapted, {
    stateVectors: options.optimizer.state.length,
    prepack: options.prepack,
  })
/** From this many parameters on (64 MB) vectors are updated where they lie. What a method does after a step needs them in the graph. */
const separateFrom = 16e6
export const wantsSeparate = ({ variables, adapter }: Adapted, precision?: Precision): boolean =>
  variables.total >= separateFrom && !adapter.afterStep && !isScaled({ precision })
/** Gradients in float16 would vanish: the loss is scaled up, in the graph. */
const isScaled = ({ precision }: Pick<StepperOptions, 'precision'>): boolean => precision === 'float16'
/** Attaches a method for training, its variables kept as suits their number. */
export function adaptForTraining(base: Model, options: Omit<AdaptOptions, 'training'>): Adapted {
  const adapted = adapt(base, { ...options, training: true })
  return wantsSeparate(adapted, options.precision)
    ? adapt(base, { ...options, training: true, separate: true })
    : adapted
}

/** The vectors that each run of the step leaves for the next. */
export function carriedBy({ state }: Adapted, options: StepperOptions): Record<string, string> {
  const { optimizer, accumulate } = options
  const names = [
    'parameters',
    ...optimizer.state,
    ...(state ? [state.vector] : []),
    ...(isScaled(options) ? [scalingName] : []),
    ...(accumulate ? ['gradient_sum'] : []),
  ]
  return Object.fromEntries(names.map((name) => [name, next(name)]))
}

/** The vectors that a run starts from. */
export function initialState(
  { variables, state }: Adapted,
  options: StepperOptions,
  start: Float32Array,
): Record<string, Float32Array> {
  const { optimizer, seed } = options
  const own = Object.fromEntries(optimizer.state.map((name) => [name, new Float32Array(variables.total)]))
  return {
    parameters: start,
    ...own,
    ...(state ? { [state.vector]: state.initial(seed) } : {}),
    ...(isScaled(options) ? { [scalingName]: initialScaling() } : {}),
  }
}

function dropoutSeed(seed: number, t: number, k: number) {
  return {
    dtype: 'int32' as const,
    shape: [],
    data: Int32Array.of(new Random(seed, `dropout/${t}/${k}`).below(2 ** 31)),
  }
}
