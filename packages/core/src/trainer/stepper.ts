import type { Adapted } from '../compile/adapt.js'
import { compileStep, next } from '../compile/step.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { GraftError } from '../errors.js'
import { Random } from '../method/random.js'
import type { Model } from '../model/model.js'
import type { Example, Objective } from '../objective/objective.js'
import type { Optimizer } from '../optimizer/optimizer.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, scalar, type Tensors } from '../runtime/tensor.js'
import { chunksOf } from './evaluator.js'

export interface StepperOptions extends SessionOptions {
  base: Model
  objective: Objective
  optimizer: Optimizer
  clip: number
  accumulate: boolean
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

/** Holds the compiled step and the flat state vectors it updates. */
export class Stepper {
  /** parameters and optimiser state by name */
  vectors: Record<string, Float32Array>
  private readonly chunks: number

  private constructor(
    private readonly session: Session,
    private readonly adapted: Adapted,
    private readonly o: StepperOptions,
    start: Float32Array,
  ) {
    const { variables, state } = adapted
    const optimizer = Object.fromEntries(o.optimizer.state.map((name) => [name, new Float32Array(variables.total)]))
    this.vectors = { parameters: start, ...optimizer, ...(state ? { [state.vector]: state.initial(o.seed) } : {}) }
    this.chunks = chunksOf(o.base, o.rows)
  }

  static async open(adapted: Adapted, start: Float32Array, options: StepperOptions): Promise<Stepper> {
    const graph = compileStep(adapted, options)
    return new Stepper(await Session.open(graph, options), adapted, options, start)
  }

  /** One optimiser step t = 1, 2, … over one or more batches. The mean is over all their supervised rows together. */
  async step(t: number, rate: number, batches: readonly (readonly Example[])[]): Promise<StepResult> {
    const { objective, optimizer, accumulate, base, pad, seed, totalSteps } = this.o
    const { virtualTokens, adapter, variables } = this.adapted
    const parts = batches.map((examples) => {
      const batch = { ...batchOf(objective.rows?.(examples) ?? examples, virtualTokens, pad), sources: examples.length }
      return { examples, batch, supervision: objective.supervise(batch, this.chunks) }
    })
    const count = parts.reduce((sum, p) => sum + p.supervision.count, 0)
    const result: StepResult = { loss: 0, gradientNorm: 0, tokens: 0 }
    let sum: Float32Array | undefined = accumulate ? new Float32Array(variables.total) : undefined
    for (const [k, { examples, batch, supervision }] of parts.entries()) {
      const outputs = await this.run({
        ...modelFeeds(base.graph.inputs, batch, pad),
        ...supervision.feeds,
        inverse_count: scalar(1 / count),
        penalty_share: scalar(1 / parts.length),
        ...(adapter.afterStep ? { method_scalars: float32(adapter.afterStep.scalars(t, totalSteps)) } : {}),
        scalars: float32(optimizer.scalars(t, rate)),
        dropout_seed: dropoutSeed(seed, t, k),
        ...(sum ? { gradient_sum: float32(sum), apply: { dtype: 'bool' as const, shape: [], data: Uint8Array.of(Number(k === parts.length - 1)) } } : {}),
      })
      sum = sum && (outputs[next('gradient_sum')].data as Float32Array)
      result.loss += Number(outputs.loss.data[0])
      if (outputs.penalty) result.penalty = (result.penalty ?? 0) + Number(outputs.penalty.data[0])
      result.gradientNorm = Number(outputs.gradient_norm.data[0])
      result.tokens += examples.reduce((n, e) => n + e.ids.length + (e.decoderIds?.length ?? 0), 0)
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
