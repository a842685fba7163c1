import { type OpenedAdapter, parametersOf } from '../adapter/open.js'
import { adapt } from '../compile/adapt.js'
import type { Coder } from '../data/coder.js'
import { inMemory } from '../data/dataset.js'
import { type Example, isEmpty } from '../data/example.js'
import type { DataRecord } from '../data/records.js'
import { GraftError } from '../errors.js'
import type { SessionOptions } from '../runtime/session.js'
import { Evaluator } from '../step/evaluator.js'
import { coderOf } from './coder.js'
import { described, type Prediction } from './prediction.js'

/** Records that are computed together. */
const batchSize = 32

/**
 * An adapter that was opened once and answers records as they come: classes, a class per token, numbers or
 * embeddings, as its objective has it.
 */
export class Classifier {
  private constructor(
    private readonly opened: OpenedAdapter,
    private readonly coder: Coder,
    private readonly evaluator: Evaluator,
    private readonly parameters: Float32Array,
  ) {}

  /**
   * Compiles the adapted model.
   *
   * @throws NOT_A_CLASSIFIER for an adapter that continues texts.
   */
  static async open(opened: OpenedAdapter, session: SessionOptions = {}): Promise<Classifier> {
    const { model, options, folder } = opened
    if (!options.objective.input)
      throw new GraftError(
        'NOT_A_CLASSIFIER',
        `${folder}: its objective is ${options.objective.name}, which writes texts; use graft generate.`,
      )
    const coder = coderOf(opened)
    const parameters = parametersOf(opened, adapt(model, { ...options, training: false }))
    const evaluator = await Evaluator.open(model, options, { ...session, pad: coder.pad, batchSize })
    return new Classifier(opened, coder, evaluator, parameters)
  }

  /** The classes it tells apart, in the order of the model's outputs; none for numbers and embeddings. */
  get labels(): readonly string[] {
    return this.opened.labels
  }

  /**
   * Predicts for one record, or for several in batches of like length: their fields as in a data file ({ text
   * }, { text, text_pair }, { tokens }, { image }).
   *
   * @throws MISSING_FIELD, NO_TOKENS, and what reading an image throws.
   */
  predict(fields: Fields): Promise<Prediction>
  predict(fields: readonly Fields[]): Promise<Prediction[]>
  async predict(fields: Fields | readonly Fields[]): Promise<Prediction | Prediction[]> {
    const isOne = (f: Fields | readonly Fields[]): f is Fields => !Array.isArray(f)
    if (isOne(fields)) return (await this.predictRecords([{ fields, where: 'request' }]))[0]
    return this.predictRecords(fields.map((f, i) => ({ fields: f, where: `request ${i + 1}` })))
  }

  /** The same for records that know where they stand. */
  async predictRecords(records: readonly DataRecord[]): Promise<Prediction[]> {
    const { objective } = this.opened.options
    const examples = await Promise.all(records.map((record) => this.exampleOf(record)))
    const empty = examples.findIndex(isEmpty)
    if (empty >= 0)
      throw new GraftError(
        'NO_TOKENS',
        `${records[empty].where}: the text has no tokens, so there is nothing to predict from. Leave the record out.`,
      )
    if (objective.answers === 'vector') {
      const found = await this.evaluator.embeddings(inMemory(examples), this.parameters)
      return found.map((vector) => ({ embedding: Array.from(vector) }))
    }
    const logits = await this.evaluator.logits(inMemory(examples), this.parameters)
    return examples.map((example, i) => described(logits[i], this.opened, example))
  }

  close(): Promise<void> {
    return this.evaluator.close()
  }

  private exampleOf(record: DataRecord): Promise<Example> {
    const example = this.opened.options.objective.input?.(record, this.coder) as Example
    return this.coder.load({ ...example, ...this.coder.task(record) })
  }
}

type Fields = Readonly<Record<string, unknown>>
