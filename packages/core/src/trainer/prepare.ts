import { createHash } from 'node:crypto'
import type { Registry } from '../container.js'
import { checkInputs } from '../data/batches.js'
import { defaultMaxLength, type Encoded, encodeClassification, encodeImages, encodeLanguage, type EncodeReport, imageSize, labelNames, positions } from '../data/encode.js'
import { type DataRecord, hasField, readRecords } from '../data/records.js'
import { Tokenizer } from '../data/tokenizer.js'
import { GraftError } from '../errors.js'
import { Random } from '../method/random.js'
import { Model } from '../model/model.js'
import type { Example, Objective } from '../objective/objective.js'
import type { TrainConfig } from './config.js'

/** Everything a run needs, read and checked before anything is compiled. */
export interface Prepared {
  model: Model
  objective: Objective
  labels: string[]
  pad: number
  max_length: number
  train: Example[]
  validation: Example[]
  test: Example[]
  /** what encoding did, per part of the data */
  reports: Record<string, EncodeReport>
  stepsPerEpoch: number
  totalSteps: number
  fingerprint: string
}

/** Opens the model and encodes the data. Throws what opening, reading and encoding throw. */
export function prepare(config: TrainConfig, registry: Registry): Prepared {
  const model = Model.open(config.model)
  checkInputs(model.graph.inputs)
  const read = (path: string | null) => (path ? readRecords(path) : [])
  const { validation: held, columns } = config.data
  const [train, validation] = typeof held === 'string' ? [readRecords(config.data.train), read(held)] : holdOut(readRecords(config.data.train), held, config.seed)
  const parts = { train, validation, test: read(config.data.test) }
  const objective = chooseObjective(config, registry, model, train[0])
  const labels = objective.classifies ? labelNames(train, columns) : []
  const coder = encoder(config, model, objective, labels)
  const encoded = Object.fromEntries(Object.entries(parts).map(([name, records]) => [name, records.length > 0 ? coder.encode(records) : undefined]))
  const examples = (name: keyof typeof parts): Example[] => encoded[name]?.examples ?? []
  checkVocabulary(model, examples('train'))
  const { batch_size, gradient_accumulation, epochs, max_steps } = config.training
  const stepsPerEpoch = Math.ceil(Math.ceil(examples('train').length / batch_size) / gradient_accumulation)
  return {
    model,
    objective,
    labels,
    pad: coder.pad,
    max_length: coder.max_length,
    train: examples('train'),
    validation: examples('validation'),
    test: examples('test'),
    reports: Object.fromEntries(Object.entries(encoded).flatMap(([name, e]) => (e ? [[name, e.report]] : []))),
    stepsPerEpoch,
    totalSteps: max_steps ?? epochs * stepsPerEpoch,
    fingerprint: fingerprint(config, labels, examples('train')),
  }
}

/** Holds a share of the records out, chosen by the seed; both parts keep the file's order. */
function holdOut(records: DataRecord[], share: number, seed: number): [DataRecord[], DataRecord[]] {
  const count = Math.floor(records.length * share)
  const order = new Random(seed, 'validation').shuffle(records.map((_, i) => i))
  const held = new Set(order.slice(0, count))
  return [records.filter((_, i) => !held.has(i)), records.filter((_, i) => held.has(i))]
}

/** The objective the config names, or the one the data's fields call for. */
function chooseObjective(config: TrainConfig, registry: Registry, model: Model, first: DataRecord): Objective {
  if (config.objective) return registry.get('objective', config.objective)
  if (!hasField(first, config.data.columns, 'label')) return registry.get('objective', 'causal-lm')
  return registry.get('objective', model.graph.inputs.some((v) => v.name === 'pixel_values') ? 'image-classification' : 'sequence-classification')
}

interface Encoder {
  encode: (records: readonly DataRecord[]) => Encoded
  pad: number
  max_length: number
}
function encoder(config: TrainConfig, model: Model, objective: Objective, labels: readonly string[]): Encoder {
  const max_length = maxLength(config, model)
  const options = { ...config.data, max_length }
  const size = imageSize(model)
  if (size !== undefined) return { encode: (records) => encodeImages(records, labels, size, options), pad: 0, max_length: 0 }
  const tokenizer = Tokenizer.open(model.folder, model.config)
  return {
    encode: (records) => (objective.classifies ? encodeClassification(records, tokenizer, labels, options) : encodeLanguage(records, tokenizer, options)),
    pad: tokenizer.pad,
    max_length,
  }
}

function maxLength({ data }: TrainConfig, model: Model): number {
  const limit = positions(model)
  if (data.max_length !== null && data.max_length > limit)
    throw new GraftError('TOO_LONG', `data.max_length: ${data.max_length} is more than the model's ${limit} positions. Set it to ${limit} or less.`)
  return data.max_length ?? defaultMaxLength(model)
}

/** A tokenizer of another model gives ids that the embedding doesn't have; ONNX Runtime would only say "index out of range". */
function checkVocabulary(model: Model, examples: readonly Example[]): void {
  const tokens = model.graph.inputs.find((v) => v.name === 'input_ids')
  const table = model.embeddings.find((e) => tokens?.users.has(e.node))
  const greatest = examples.reduce((m, e) => e.ids.reduce((a, b) => Math.max(a, b), m), 0)
  if (table && greatest >= table.rows)
    throw new GraftError(
      'VOCABULARY_MISMATCH',
      `${model.folder}/tokenizer.json gives token ${greatest}, the model's embedding has ${table.rows} rows. The tokenizer belongs to another model.`,
    )
}

/** What a checkpoint's numbers depend on. */
function fingerprint(config: TrainConfig, labels: readonly string[], train: readonly Example[]): string {
  const { save_every: _, ...training } = config.training
  const hash = createHash('sha256').update(JSON.stringify([config.method.name, config.methodOptions, training, config.seed, labels, config.objective, train.length]))
  for (const e of train) hash.update(`${e.ids.join()}|${e.tokenLabels?.join()}|${e.label}\n`)
  return hash.digest('hex')
}
