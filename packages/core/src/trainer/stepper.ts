import { type Bindings, type FrozenCut, type Graph, type MemoryMode, splitFrozen, type Value } from '@graft/onnx'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { predict, type Prediction } from '../compile/predict.js'
import { compileSeparate, compileStep, next } from '../compile/step.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { GraftError } from '../errors.js'
import { Random } from '../method/random.js'
import type { Model } from '../model/model.js'
import type { Batch, Example, Objective, Supervision } from '../objective/objective.js'
import type { Optimizer } from '../optimizer/optimizer.js'
import { collectGarbage } from '../runtime/garbage.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, scalar, type Tensors } from '../runtime/tensor.js'
import { chunksOf } from './evaluator.js'
import { frozenFeeds, nothingFrozen } from './frozen-prefix.js'

export interface StepperOptions extends SessionOptions {
  base: Model
  objective: Objective
  optimizer: Optimizer
  clip: number
  accumulate: boolean
  /** what the backward pass keeps */
  memory: MemoryMode
  /** a batch as large as those to come, for the memory's plan */
  sample: readonly Example[]
  rows: number
  pad: number
  seed: number
  totalSteps: number
  /** Is given the part of the step that never changes, and prepares the examples' own share of it: they then carry it in `frozen`. */
  freeze?(cut: FrozenCut): Promise<void>
}
export interface StepResult {
  /** mean over supervised rows, and the method's penalty where it has one */
  loss: number
  /** the method's part of the loss */
  penalty?: number
  gradientNorm: number
  tokens: number
}

/** One batch of a step, padded, with its targets. */
export interface Part {
  examples: readonly Example[]
  batch: Batch
  supervision: Supervision
}
export function partOf({ virtualTokens }: Adapted, { objective, pad, base, rows }: StepperOptions, examples: readonly Example[]): Part {
  const batch = { ...batchOf(objective.rows?.(examples) ?? examples, virtualTokens, pad), sources: examples.length }
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
  const feeds = feedsOf(adapted, options, partOf(adapted, options, options.sample), { t: 1, rate: 0, k: 0, parts: 1, count: 1 })
  const named = adapted.model.graph.inputs.flatMap(({ name, shape }) => (shape ?? []).map((d, i) => [d, feeds[name]?.shape[i]] as const))
  return Object.fromEntries(named.filter((pair): pair is [string, number] => typeof pair[0] === 'string' && pair[1] !== undefined))
}
export function compileStepper(adapted: Adapted, options: StepperOptions): Graph {
  const keeping = { mode: options.memory, sizes: sampleSizes(adapted, options) }
  return adapted.variables.separate ? compileSeparate(adapted, keeping) : compileStep(adapted, { ...options, keeping })
}
/** Throws NO_FROZEN_PREFIX where nothing below the adapter is frozen, or examples don't go through the model one by one. */
function cutFrozen(graph: Graph, adapted: Adapted, options: StepperOptions): FrozenCut {
  const { base, objective } = options
  const cut = objective.rows ? undefined : splitFrozen(graph, new Set(base.graph.inputs.map((v) => v.name)), sampleSizes(adapted, options))
  if (!cut) throw nothingFrozen()
  return cut
}
/** Memory and work of a compiled step, before it runs. */
export const predictStep = (graph: Graph, adapted: Adapted, options: StepperOptions): Prediction =>
  predict(graph, sampleSizes(adapted, options), adapted, { stateVectors: options.optimizer.state.length, prepack: options.prepack })
/** From this many parameters on (64 MB) vectors are updated where they lie. What a method does after a step needs them in the graph. */
const separateFrom = 16e6
export const wantsSeparate = ({ variables, adapter }: Adapted): boolean => variables.total >= separateFrom && !adapter.afterStep
/** Attaches a method for training, its variables kept as suits their number. */
export function adaptForTraining(base: Model, options: Omit<AdaptOptions, 'training'>): Adapted {
  const adapted = adapt(base, { ...options, training: true })
  return wantsSeparate(adapted) ? adapt(base, { ...options, training: true, separate: true }) : adapted
}

/** The vectors that a run starts from. */
export function initialState({ variables, state }: Adapted, { optimizer, seed }: StepperOptions, start: Float32Array): Record<string, Float32Array> {
  const own = Object.fromEntries(optimizer.state.map((name) => [name, new Float32Array(variables.total)]))
  return { parameters: start, ...own, ...(state ? { [state.vector]: state.initial(seed) } : {}) }
}

/** Holds the compiled step and the flat state vectors it updates. */
export class Stepper {
  /** parameters and optimiser state by name */
  vectors: Record<string, Float32Array>
  /** gradients of a step's runs, added up */
  private sum?: Float32Array

  private constructor(
    private readonly session: Session,
    private readonly adapted: Adapted,
    private readonly o: StepperOptions,
    readonly prediction: Prediction,
    start: Float32Array,
    private readonly frozen: readonly Value[],
  ) {
    this.vectors = initialState(adapted, o, start)
  }

  static async open(adapted: Adapted, start: Float32Array, options: StepperOptions): Promise<Stepper> {
    const graph = compileStepper(adapted, options)
    const cut = options.freeze ? cutFrozen(graph, adapted, options) : undefined
    if (cut) await options.freeze?.(cut)
    cut?.below.clear()
    const prediction = predictStep(graph, adapted, options)
    const session = await Session.open(graph, options)
    // The step lives on in the session; its nodes would take tens of megabytes here.
    graph.clear()
    collectGarbage('major')
    return new Stepper(session, adapted, options, prediction, start, cut?.values ?? [])
  }

  /** One optimiser step t = 1, 2, … over one or more batches. The mean is over all their supervised rows together. */
  async step(t: number, rate: number, batches: readonly (readonly Example[])[]): Promise<StepResult> {
    const parts = batches.map((examples) => partOf(this.adapted, this.o, examples))
    const count = parts.reduce((sum, p) => sum + p.supervision.count, 0)
    const result: StepResult = { loss: 0, gradientNorm: 0, tokens: 0 }
    if (this.o.accumulate) this.sum = new Float32Array(this.adapted.variables.total)
    for (const [k, part] of parts.entries()) {
      const feeds = { ...feedsOf(this.adapted, this.o, part, { t, rate, k, parts: parts.length, count }), ...frozenFeeds(this.frozen, part.batch) }
      const apply = k === parts.length - 1
      const outputs = this.adapted.variables.separate ? await this.runApart(feeds, this.o.optimizer.scalars(t, rate), apply) : await this.run(feeds, apply)
      result.loss += Number(outputs.loss.data[0])
      if (outputs.penalty) result.penalty = (result.penalty ?? 0) + Number(outputs.penalty.data[0])
      result.gradientNorm = Number(outputs.gradient_norm.data[0])
      result.tokens += part.examples.reduce((n, e) => n + e.ids.length + (e.decoderIds?.length ?? 0), 0)
    }
    if (!Number.isFinite(result.loss) || !Number.isFinite(result.gradientNorm)) throw notFinite(t, result)
    return result
  }

  close(): Promise<void> {
    return this.session.close()
  }

  /** Runs the graph; the state vectors move to the session's thread and their successors come back. */
  private async run(feeds: Tensors, apply: boolean): Promise<Tensors> {
    const state = Object.fromEntries(Object.entries(this.vectors).map(([name, v]) => [name, float32(v)]))
    const adding: Tensors = this.sum ? { gradient_sum: float32(this.sum), apply: { dtype: 'bool' as const, shape: [], data: Uint8Array.of(Number(apply)) } } : {}
    const outputs = await this.session.run({ ...feeds, ...state, ...adding }, { give: Object.keys(state) })
    this.vectors = Object.fromEntries(Object.keys(state).map((name) => [name, outputs[next(name)].data as Float32Array]))
    if (this.sum) this.sum = outputs[next('gradient_sum')].data as Float32Array
    return outputs
  }

  /** The same where the optimiser's step is taken beside the graph: the vectors themselves come back. */
  private async runApart(feeds: Tensors, scalars: readonly number[], apply: boolean): Promise<Tensors> {
    const { optimizer, clip } = this.o
    const variables = this.adapted.variables.list.map(({ offset, size, shape, lrScale = 1 }) => ({ offset, size, shape, rateScale: lrScale }))
    const vectors = { ...this.vectors, ...(this.sum ? { gradient_sum: this.sum } : {}) }
    const outputs = await this.session.update(feeds, { vectors, variables, optimizer: optimizer.options, scalars, clip, apply })
    this.vectors = Object.fromEntries(Object.keys(this.vectors).map((name) => [name, outputs[name].data as Float32Array]))
    this.sum = outputs.gradient_sum?.data as Float32Array | undefined
    return outputs
  }
}

function dropoutSeed(seed: number, t: number, k: number) {
  return { dtype: 'int64' as const, shape: [], data: BigInt64Array.of(BigInt(new Random(seed, `dropout/${t}/${k}`).below(2 ** 31 - 1))) }
}
const notFinite = (t: number, { loss, gradientNorm }: StepResult) =>
  new GraftError(
    'NOT_FINITE',
    `Step ${t}: the loss is ${loss}, the gradient's norm ${gradientNorm}. Training stopped; the checkpoint before it is kept. Lower training.learning_rate, or set training.max_grad_norm, and start again.`,
  )
