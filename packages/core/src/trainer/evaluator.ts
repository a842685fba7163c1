import { batchOf, modelFeeds, sortedBatches } from '../data/batches.js'
import { adapt, type AdaptOptions } from '../compile/adapt.js'
import { compileEvaluation } from '../compile/step.js'
import type { VirtualTokens } from '../method/method.js'
import type { Model } from '../model/model.js'
import { chunksFor } from '../objective/causal-lm.js'
import type { Example, Objective, Supervision } from '../objective/objective.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, numbers, type Tensors } from '../runtime/tensor.js'

export interface Evaluation {
  /** mean per supervised row */
  loss: number
  /** share of rows whose most likely class or token is right */
  accuracy: number
}

/** Chunks of the output layer for batches of about `rows` supervised rows. */
export const chunksOf = (model: Model, rows: number): number => chunksFor(rows, Number(model.logitsShape.at(-1)))

/** Runs an adapted model forward: loss and accuracy over examples, or logits per example. */
export class Evaluator {
  private constructor(
    private readonly session: Session,
    private readonly model: Model,
    private readonly objective: Objective,
    private readonly chunks: number,
    private readonly pad: number,
    private readonly batchSize: number,
    private readonly virtual: VirtualTokens,
  ) {}

  static async open(base: Model, options: Omit<AdaptOptions, 'training'>, { pad, batchSize, ...session }: SessionOptions & { pad: number; batchSize: number }): Promise<Evaluator> {
    const adapted = adapt(base, { ...options, training: false })
    const graph = compileEvaluation(adapted)
    return new Evaluator(await Session.open(graph, session), base, options.objective, chunksOf(base, options.rows), pad, batchSize, adapted.virtualTokens)
  }

  async evaluate(examples: readonly Example[], parameters: Float32Array, onProgress?: (done: number) => void): Promise<Evaluation> {
    let done = 0
    let [loss, right, rows] = [0, 0, 0]
    for (const indices of sortedBatches(examples, this.batchSize)) {
      const { outputs, supervision } = await this.forward(
        indices.map((i) => examples[i]),
        parameters,
      )
      const predictions = numbers(outputs.predictions)
      loss += Number(outputs.loss_sum.data[0])
      right += supervision.targets.filter((t, i) => t === predictions[i]).length
      rows += supervision.count
      done += indices.length
      onProgress?.(done)
    }
    return { loss: loss / rows, accuracy: right / rows }
  }

  /** Logits per example, in the order given; for classifiers. */
  async logits(examples: readonly Example[], parameters: Float32Array): Promise<Float32Array[]> {
    const found: Float32Array[] = []
    for (const indices of sortedBatches(examples, this.batchSize)) {
      const { outputs } = await this.forward(
        indices.map((i) => examples[i]),
        parameters,
      )
      const all = outputs.row_logits.data as Float32Array
      const classes = all.length / indices.length
      indices.forEach((example, row) => {
        found[example] = all.slice(row * classes, (row + 1) * classes)
      })
    }
    return found
  }

  close(): Promise<void> {
    return this.session.close()
  }

  private async forward(examples: readonly Example[], parameters: Float32Array): Promise<{ outputs: Tensors; supervision: Supervision }> {
    const batch = batchOf(examples, this.virtual, this.pad)
    const supervision = this.objective.supervise(batch, this.chunks)
    const own = modelFeeds(this.model.graph.inputs, batch, this.pad)
    const outputs = await this.session.run({ ...own, ...supervision.feeds, parameters: float32(parameters) })
    return { outputs, supervision }
  }
}
