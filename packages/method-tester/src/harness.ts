import {
  causalLm,
  type Example,
  float32,
  type Model,
  type Objective,
  type PeftMethod,
  Random,
  sequenceClassification,
  type Tensors,
} from '@graft-peft/core'
import {
  adamw,
  adapt,
  type Adapted,
  type AdaptOptions,
  batchOf,
  compileEvaluation,
  compileGradient,
  compileStep,
  methodOptions,
  modelFeeds,
  next,
  countedPositions,
  prepareContext,
  scalar,
  Session,
} from '@graft-peft/core/inside'
import { toySizes } from './toys.js'

/** What is learnt, where that isn't language or a class. */
export interface Learnt {
  objective: Objective
  labels: number
  examples: readonly Example[]
}
/** A few steps of training. */
export interface Trained {
  /** before each step */
  losses: number[]
  /** parameters and the optimiser's vectors after the last step */
  state: Record<string, Float32Array>
  /** after each step */
  states: Record<string, Float32Array>[]
  adapted: Adapted
}
/** What a graph is fed, where that isn't the bench's own batch. */
export interface Feeding {
  examples?: readonly Example[]
  /** the token that fills texts up */
  pad?: number
  /** of dropout and noise */
  seed?: number
}

/** Options belong to the run: a method that writes into them finds that it can't. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) frozen(part)
  return Object.freeze(value)
}

/** One method under one config on one toy model. */
export class Bench {
  readonly objective: Objective
  readonly labels: number
  /** of the whole run */
  readonly steps = 12
  private readonly config: Record<string, unknown>
  private prepared: unknown

  private constructor(
    readonly base: Model,
    readonly method: PeftMethod,
    given: Record<string, unknown>,
    private readonly learnt?: Learnt,
  ) {
    const own = structuredClone(methodOptions(method, given))
    this.config = frozen({ ...own, modules_to_save: given.modules_to_save ?? [] })
    this.objective = learnt?.objective ?? (base.logitsShape.length === 3 ? causalLm : sequenceClassification)
    this.labels = learnt?.labels ?? (this.objective === causalLm ? 0 : toySizes.classes)
  }
  /** Throws what the method's `prepare` throws. */
  static async open(
    base: Model,
    method: PeftMethod,
    given: Record<string, unknown>,
    learnt?: Learnt,
  ): Promise<Bench> {
    const bench = new Bench(base, method, given, learnt)
    const context = prepareContext(base, 0, 0)
    const batch = batchOf(bench.examples)
    const batches = async () => [modelFeeds(base.graph.inputs, batch, 0)]
    const masks = async () => [countedPositions(batch)]
    const tokenize = (text: string) =>
      Array.from(text, (c) => 3 + (c.charCodeAt(0) % (toySizes.vocabulary - 3)))
    bench.prepared = await method.prepare?.({ ...context, tokenize, batches, masks }, bench.config)
    return bench
  }

  adapt(changes: Partial<AdaptOptions> = {}): Adapted {
    const { method, config, objective, labels, steps, prepared } = this
    return adapt(this.base, {
      method,
      methodOptions: config,
      objective,
      labels,
      expectedRows: 8,
      totalSteps: steps,
      training: false,
      prepared,
      ...changes,
    })
  }
  /** The same method with other options, for a file that changed some. */
  configWith(options: Record<string, unknown>): Record<string, unknown> {
    return { ...this.config, ...options }
  }

  get examples(): Example[] {
    return this.learnt ? [...this.learnt.examples] : this.examplesOf([7, 5, 6])
  }
  /** Examples of as many tokens each. */
  examplesOf(lengths: readonly number[]): Example[] {
    const random = new Random(3, 'examples')
    return lengths.map((length, i) => {
      const ids = Array.from({ length }, () => 3 + random.below(toySizes.vocabulary - 3))
      const task = i % (this.method.tasks?.(this.config) ?? 1)
      return this.objective === causalLm
        ? { ids, tokenLabels: ids, task }
        : { ids, label: i % toySizes.classes, task }
    })
  }
  feeds({ virtualTokens }: Adapted, { examples = this.examples, pad = 0, seed = 1 }: Feeding = {}): Tensors {
    const rows = this.objective.rows?.(examples) ?? examples
    const batch = { ...batchOf(rows, virtualTokens, pad), sources: examples.length }
    const { feeds, count } = this.objective.supervise(batch, 1)
    return {
      ...modelFeeds(this.base.graph.inputs, batch, pad),
      ...feeds,
      inverse_count: scalar(1 / count),
      penalty_share: scalar(1),
      dropout_seed: { dtype: 'int32', shape: [], data: Int32Array.of(seed) },
    }
  }

  /** Parameters as they start, each moved a little: at the start itself many gradients are zero. */
  moved(adapted: Adapted, by = 0.1): Float32Array {
    const random = new Random(5, 'moved')
    return adapted.variables.initial(0).map((v) => v + by * random.normal())
  }

  /** Loss and gradient at given parameters, under dropout where `training`. */
  async gradient(training = false): Promise<{
    run(parameters: Float32Array): Promise<{ loss: number; gradient: Float32Array }>
    close(): Promise<void>
  }> {
    const adapted = this.adapt({ training })
    const feeds = this.feeds(adapted)
    const session = await Session.open(compileGradient(adapted))
    return {
      run: async (parameters) => {
        const outputs = await session.run({ ...feeds, parameters: float32(parameters) })
        return { loss: Number(outputs.loss.data[0]), gradient: outputs.gradient.data as Float32Array }
      },
      close: () => session.close(),
    }
  }

  /** The forward pass of an attached method, to be run on several batches: the summed loss of each. */
  forward<T>(
    adapted: Adapted,
    use: (loss: (parameters: Float32Array, feeding?: Feeding) => Promise<number>) => Promise<T>,
  ): Promise<T> {
    return this.outputs(adapted, (run) =>
      use(async (parameters, feeding) => Number((await run(parameters, feeding)).loss_sum.data[0])),
    )
  }
  /** The same with all that the evaluation's graph gives. */
  async outputs<T>(
    adapted: Adapted,
    use: (run: (parameters: Float32Array, feeding?: Feeding) => Promise<Tensors>) => Promise<T>,
  ): Promise<T> {
    const session = await Session.open(compileEvaluation(adapted))
    try {
      return await use((parameters, feeding) =>
        session.run({ ...this.feeds(adapted, feeding), parameters: float32(parameters) }),
      )
    } finally {
      await session.close()
    }
  }

  /** What the model makes of the batch: the summed loss, to full precision of the logits' sum. */
  loss(adapted: Adapted, parameters: Float32Array): Promise<number> {
    return this.forward(adapted, (loss) => loss(parameters))
  }

  /** Trains from `state` (a fresh start when left out) over steps `from` … `to`, in a newly compiled graph. */
  async train(from: number, to: number, state?: Record<string, Float32Array>, rate = 1e-2): Promise<Trained> {
    const adapted = this.adapt()
    const optimizer = adamw({
      name: 'adamw',
      betas: [0.9, 0.999],
      epsilon: 1e-8,
      weight_decay: 0,
      momentum: 0,
    })
    const { variables, state: own, adapter } = adapted
    const zero = () => new Float32Array(variables.total)
    let vectors = state ?? {
      parameters: variables.initial(0),
      ...Object.fromEntries(optimizer.state.map((n) => [n, zero()])),
      ...(own ? { method_state: own.initial(0) } : {}),
    }
    const feeds = this.feeds(adapted)
    const graph = compileStep(adapted, { optimizer, clip: 0, accumulate: false })
    const session = await Session.open(graph)
    const losses: number[] = []
    const states: Record<string, Float32Array>[] = []
    try {
      for (let t = from; t <= to; t++) {
        const scalars = {
          scalars: float32(optimizer.scalars(t, rate)),
          method_scalars: float32(adapter.afterStep?.scalars(t, this.steps) ?? []),
        }
        const outputs = await session.run({
          ...feeds,
          ...scalars,
          ...Object.fromEntries(Object.entries(vectors).map(([n, v]) => [n, float32(new Float32Array(v))])),
        })
        losses.push(Number(outputs.loss.data[0]))
        vectors = Object.fromEntries(
          Object.keys(vectors).map((n) => [n, new Float32Array(outputs[next(n)].data as Float32Array)]),
        )
        states.push(vectors)
      }
    } finally {
      await session.close()
    }
    return { losses, state: vectors, states, adapted }
  }
}
