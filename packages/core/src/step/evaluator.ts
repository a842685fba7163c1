import { batchOf, modelFeeds, sortedBatches } from '../data/batches.js'
import { type Dataset, take } from '../data/dataset.js'
import type { Metric } from '../metric/metric.js'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { compileEvaluation } from '../compile/step.js'
import type { Model } from '../model/model.js'
import { chunksFor } from '../objective/causal-lm.js'
import type { Example } from '../data/example.js'
import type { Objective, Supervision } from '../objective/objective.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { numbers, type Tensors } from '../runtime/tensor.js'

export interface Evaluation extends Record<string, number> {
  /** mean per supervised row */
  loss: number
}

/** Chunks of the output layer for batches of about `rows` supervised rows. */
export const chunksOf = (model: Model, rows: number): number =>
  chunksFor(rows, Number(model.logitsShape.at(-1)))

/** Runs an adapted model forward: loss and accuracy over examples, or logits per example. */
export class Evaluator {
  private constructor(
    private readonly session: Session,
    private readonly model: Model,
    private readonly objective: Objective,
    private readonly chunks: number,
    private readonly pad: number,
    private readonly batchSize: number,
    private readonly adapted: Pick<Adapted, 'variables' | 'virtualTokens'>,
  ) {}

  static async open(
    base: Model,
    options: Omit<AdaptOptions, 'training'>,
    { pad, batchSize, ...session }: SessionOptions & { pad: number; batchSize: number },
  ): Promise<Evaluator> {
    const adapted = adapt(base, { ...options, training: false })
    const graph = compileEvaluation(adapted)
    const opened = await Session.open(graph, session)
    graph.clear()
    return new Evaluator(
      opened,
      base,
      options.objective,
      chunksOf(base, options.rows),
      pad,
      batchSize,
      adapted,
    )
  }

  /** The mean loss, and each metric's value by its name. */
  async evaluate(
    data: Dataset,
    parameters: Float32Array,
    metrics: readonly Metric[],
    labels: readonly string[],
    onProgress?: (done: number) => void,
  ): Promise<Evaluation> {
    const tallies = metrics.map((m) => ({ name: m.name, tally: m.start() }))
    let done = 0
    let [sum, rows] = [0, 0]
    for (const indices of sortedBatches(data, this.batchSize)) {
      const { outputs, supervision } = await this.forward(await take(data, indices), parameters)
      const loss = Number(outputs.loss_sum.data[0])
      const { targets, lengths } = supervision
      for (const { tally } of tallies)
        tally.add({ predictions: numbers(outputs.predictions), targets, loss, labels, lengths })
      sum += loss
      rows += supervision.count
      done += indices.length
      onProgress?.(done)
    }
    return {
      loss: sum / rows,
      ...Object.fromEntries(tallies.map(({ name, tally }) => [name, tally.result()])),
    }
  }

  /** Logits of each example's supervised rows, in the order given; for objectives that compute them whole. */
  async logits(data: Dataset, parameters: Float32Array): Promise<Float32Array[][]> {
    const found: Float32Array[][] = []
    for (const indices of sortedBatches(data, this.batchSize)) {
      const { outputs, supervision } = await this.forward(await take(data, indices), parameters)
      const all = outputs.row_logits.data as Float32Array
      const width = all.length / supervision.count
      let row = 0
      indices.forEach((example, i) => {
        const count = supervision.lengths?.[i] ?? 1
        found[example] = Array.from({ length: count }, (_, k) =>
          all.slice((row + k) * width, (row + k + 1) * width),
        )
        row += count
      })
    }
    return found
  }

  /** A vector per example, in the order given; for objectives that embed. */
  async embeddings(data: Dataset, parameters: Float32Array): Promise<Float32Array[]> {
    const found: Float32Array[] = []
    for (const indices of sortedBatches(data, this.batchSize)) {
      const { outputs } = await this.forward(await take(data, indices), parameters)
      const all = outputs.embeddings.data as Float32Array
      const width = all.length / indices.length
      indices.forEach((example, row) => {
        found[example] = all.slice(row * width, (row + 1) * width)
      })
    }
    return found
  }

  close(): Promise<void> {
    return this.session.close()
  }

  private async forward(
    examples: readonly Example[],
    parameters: Float32Array,
  ): Promise<{ outputs: Tensors; supervision: Supervision }> {
    const batch = {
      ...batchOf(this.objective.rows?.(examples) ?? examples, this.adapted.virtualTokens, this.pad),
      sources: examples.length,
    }
    const supervision = this.objective.supervise(batch, this.chunks)
    const own = modelFeeds(this.model.graph.inputs, batch, this.pad)
    const outputs = await this.session.run({
      ...own,
      ...supervision.feeds,
      ...this.adapted.variables.tensors(parameters),
    })
    return { outputs, supervision }
  }
}
