import { type BatchLimit, sortedBatches } from '../data/batches.js'
import { type Dataset, take } from '../data/dataset.js'
import type { Metric, Scored } from '../metric/metric.js'
import type { AdaptOptions } from '../compile/adapt.js'
import type { Model } from '../model/model.js'
import { checkPredictions } from '../objective/checked.js'
import type { Example } from '../data/example.js'
import type { Supervision } from '../objective/objective.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { numbers, type Tensors } from '../runtime/tensor.js'
import { Forward } from './forward.js'

/** Mean loss and metrics of one part of the data, by name; shares are from 0 to 1. */
export interface Evaluation extends Record<string, number> {
  /** mean per supervised row */
  loss: number
}

/** Told while examples are evaluated: how many are done, and what each batch came to. */
interface Watching {
  onProgress?: (done: number) => void
  onScored?: (batch: Scored) => void
}

/** Runs an adapted model forward: loss and accuracy over examples, or logits per example. */
export class Evaluator {
  private constructor(
    private readonly session: Session,
    private readonly pass: Forward,
    private readonly limit: BatchLimit,
  ) {}

  static async open(
    base: Model,
    options: Omit<AdaptOptions, 'training'>,
    { pad, batchSize, ...session }: SessionOptions & { pad: number; batchSize: number },
  ): Promise<Evaluator> {
    return Evaluator.of(Forward.of(base, options, pad), { rows: batchSize }, session)
  }

  /** Its session opens with the first batch. */
  static of(pass: Forward, limit: BatchLimit, session: SessionOptions): Evaluator {
    const resting = Session.resting(pass.graph, session)
    pass.graph.clear()
    return new Evaluator(resting, pass, limit)
  }

  /** The mean loss, and each metric's value by its name. */
  async evaluate(
    data: Dataset,
    parameters: Float32Array,
    metrics: readonly Metric[],
    labels: readonly string[],
    { onProgress, onScored }: Watching = {},
  ): Promise<Evaluation> {
    const tallies = metrics.map((m) => ({ name: m.name, tally: m.start() }))
    let done = 0
    let [sum, rows] = [0, 0]
    for (const indices of sortedBatches(data, this.limit)) {
      const { outputs, supervision } = await this.forward(await take(data, indices), parameters)
      const loss = Number(outputs.loss_sum.data[0])
      const { targets, lengths } = supervision
      const predictions = numbers(outputs.predictions)
      checkPredictions(this.pass.objective, predictions, supervision.count)
      const scored = { predictions, targets, loss, labels, lengths }
      for (const { tally } of tallies) tally.add(scored)
      onScored?.(scored)
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
    for (const indices of sortedBatches(data, this.limit)) {
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
    for (const indices of sortedBatches(data, this.limit)) {
      const { outputs } = await this.forward(await take(data, indices), parameters)
      const all = outputs.embeddings.data as Float32Array
      const width = all.length / indices.length
      indices.forEach((example, row) => {
        found[example] = all.slice(row * width, (row + 1) * width)
      })
    }
    return found
  }

  /** Gives back what its session holds; a later batch opens it again. */
  close(): Promise<void> {
    return this.session.close()
  }

  private async forward(
    examples: readonly Example[],
    parameters: Float32Array,
  ): Promise<{ outputs: Tensors; supervision: Supervision }> {
    const { feeds, supervision } = this.pass.feeds(examples, parameters)
    const outputs = await this.session.run(feeds)
    return { outputs, supervision }
  }
}
