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
  runOnce,
  scalar,
  Session,
} from '@graft-peft/core/inside'
import { toySizes } from './toys.js'

/** One method under one config on one toy model. */
export class Bench {
  readonly objective: Objective
  readonly labels: number
  private readonly config: Record<string, unknown>
  private prepared: unknown

  private constructor(
    readonly base: Model,
    readonly method: PeftMethod,
    given: Record<string, unknown>,
    readonly steps: number,
  ) {
    this.config = { ...methodOptions(method, given), modules_to_save: given.modules_to_save ?? [] }
    this.objective = base.logitsShape.length === 3 ? causalLm : sequenceClassification
    this.labels = this.objective === causalLm ? 0 : toySizes.classes
  }
  /** Throws what the method's `prepare` throws. */
  static async open(
    base: Model,
    method: PeftMethod,
    given: Record<string, unknown>,
    steps = 12,
  ): Promise<Bench> {
    const bench = new Bench(base, method, given, steps)
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
    const random = new Random(3, 'examples')
    return [7, 5, 6].map((length, i) => {
      const ids = Array.from({ length }, () => 3 + random.below(toySizes.vocabulary - 3))
      const task = i % (this.method.tasks?.(this.config) ?? 1)
      return this.objective === causalLm ? { ids, tokenLabels: ids, task } : { ids, label: i, task }
    })
  }
  feeds({ virtualTokens }: Adapted): Tensors {
    const batch = batchOf(this.examples, virtualTokens, 0)
    const { feeds, count } = this.objective.supervise(batch, 1)
    return {
      ...modelFeeds(this.base.graph.inputs, batch, 0),
      ...feeds,
      inverse_count: scalar(1 / count),
      penalty_share: scalar(1),
    }
  }

  /** Parameters as they start, each moved a little: at the start itself many gradients are zero. */
  moved(adapted: Adapted, by = 0.1): Float32Array {
    const random = new Random(5, 'moved')
    return adapted.variables.initial(0).map((v) => v + by * random.normal())
  }

  /** Loss and gradient at given parameters. */
  async gradient(): Promise<{
    run(parameters: Float32Array): Promise<{ loss: number; gradient: Float32Array }>
    close(): Promise<void>
  }> {
    const adapted = this.adapt()
    const feeds = this.feeds(adapted)
    const graph = compileGradient(adapted)
    const session = await Session.open(graph)
    return {
      run: async (parameters) => {
        const outputs = await session.run({ ...feeds, parameters: float32(parameters) })
        return { loss: Number(outputs.loss.data[0]), gradient: outputs.gradient.data as Float32Array }
      },
      close: () => session.close(),
    }
  }

  /** What the model makes of the batch: the summed loss, to full precision of the logits' sum. */
  async loss(adapted: Adapted, parameters: Float32Array): Promise<number> {
    const feeds = this.feeds(adapted)
    const graph = compileEvaluation(adapted)
    return runOnce(graph, { ...feeds, parameters: float32(parameters) }).then((o) =>
      Number(o.loss_sum.data[0]),
    )
  }

  /** Trains from `state` (a fresh start when left out) over steps `from` … `to`, in a newly compiled graph. */
  async train(
    from: number,
    to: number,
    state?: Record<string, Float32Array>,
  ): Promise<{ losses: number[]; state: Record<string, Float32Array>; adapted: Adapted }> {
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
    try {
      for (let t = from; t <= to; t++) {
        const scalars = {
          scalars: float32(optimizer.scalars(t, 1e-2)),
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
      }
    } finally {
      await session.close()
    }
    return { losses, state: vectors, adapted }
  }
}
