import type { Bindings, Graph, MemoryMode } from '@graft/onnx'
import type { Adapted } from '../compile/adapt.js'
import { compileStep, next } from '../compile/step.js'
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
export const compileStepper = (adapted: Adapted, options: StepperOptions): Graph =>
  compileStep(adapted, { ...options, keeping: { mode: options.memory, sizes: sampleSizes(adapted, options) } })

/** The vectors that a run starts from. */
export function initialState({ variables, state }: Adapted, { optimizer, seed }: StepperOptions, start: Float32Array): Record<string, Float32Array> {
  const own = Object.fromEntries(optimizer.state.map((name) => [name, new Float32Array(variables.total)]))
  return { parameters: start, ...own, ...(state ? { [state.vector]: state.initial(seed) } : {}) }
}

/** Holds the compiled step and the flat state vectors it updates. */
export class Stepper {
  /** parameters and optimiser state by name */
  vectors: Record<string, Float32Array>

  private constructor(
    private readonly session: Session,
    private readonly adapted: Adapted,
    private readonly o: StepperOptions,
    start: Float32Array,
  ) {
    this.vectors = initialState(adapted, o, start)
  }

  static async open(adapted: Adapted, start: Float32Array, options: StepperOptions): Promise<Stepper> {
    const graph = compileStepper(adapted, options)
    const session = await Session.open(graph, options)
    // The step lives on in the session; its nodes would take tens of megabytes here.
    graph.clear()
    collectGarbage('major')
    return new Stepper(session, adapted, options, start)
  }

  /** One optimiser step t = 1, 2, … over one or more batches. The mean is over all their supervised rows together. */
  async step(t: number, rate: number, batches: readonly (readonly Example[])[]): Promise<StepResult> {
    const parts = batches.map((examples) => partOf(this.adapted, this.o, examples))
    const count = parts.reduce((sum, p) => sum + p.supervision.count, 0)
    const result: StepResult = { loss: 0, gradientNorm: 0, tokens: 0 }
    let sum: Float32Array | undefined = this.o.accumulate ? new Float32Array(this.adapted.variables.total) : undefined
    for (const [k, part] of parts.entries()) {
      const outputs = await this.run({
        ...feedsOf(this.adapted, this.o, part, { t, rate, k, parts: parts.length, count }),
        ...(sum ? { gradient_sum: float32(sum), apply: { dtype: 'bool' as const, shape: [], data: Uint8Array.of(Number(k === parts.length - 1)) } } : {}),
      })
      sum = sum && (outputs[next('gradient_sum')].data as Float32Array)
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
  private async run(feeds: Tensors): Promise<Tensors> {
    const state = Object.fromEntries(Object.entries(this.vectors).map(([name, v]) => [name, float32(v)]))
    const outputs = await this.session.run({ ...feeds, ...state }, { give: Object.keys(state) })
    this.vectors = Object.fromEntries(Object.keys(state).map((name) => [name, outputs[next(name)].data as Float32Array]))
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
