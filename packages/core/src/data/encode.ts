import { elements, shapeOf } from '@graft/onnx'
import { GraftError, suggestion } from '../errors.js'
import type { Model } from '../model/model.js'
import type { Example } from '../objective/objective.js'
import { type Columns, promptCompletion } from './format.js'
import { type DataRecord, textField } from './records.js'
import { Tokenizer } from './tokenizer.js'

export interface EncodeOptions {
  columns: Columns
  max_length: number
  /** supervise prompts too, not only completions */
  train_on_prompt: boolean
}
/** What encoding did to a data set, for the user to read. */
export interface EncodeReport {
  examples: number
  truncated: number
  /** examples left without a supervised token, dropped */
  unsupervised: number
  tokens: number
  supervised: number
}
export interface Encoded {
  examples: Example[]
  report: EncodeReport
}

/** Labels in alphabetical order, so that a label's number doesn't depend on the data's order. */
export const labelNames = (records: readonly DataRecord[], columns: Columns): string[] => [...new Set(records.map((r) => textField(r, columns, 'label')))].sort()

function labelOf(record: DataRecord, columns: Columns, labels: readonly string[]): number {
  const name = textField(record, columns, 'label')
  const index = labels.indexOf(name)
  if (index < 0) throw new GraftError('UNKNOWN_LABEL', `${record.where}: label ${name} does not occur in the training data. ${suggestion(name, labels)}`)
  return index
}

/** Texts with a class. */
export function encodeClassification(records: readonly DataRecord[], tokenizer: Tokenizer, labels: readonly string[], { columns, max_length }: EncodeOptions): Encoded {
  let truncated = 0
  const examples = records.map((record): Example => {
    const ids = tokenizer.encode(textField(record, columns, 'text').trim())
    if (ids.length > max_length) truncated++
    return { ids: ids.slice(0, max_length), label: labelOf(record, columns, labels) }
  })
  return { examples, report: report(examples, truncated, 0, examples.length) }
}

/** Texts to continue. The completion ends in the end-of-sequence token, which is supervised: the model learns to stop. */
export function encodeLanguage(records: readonly DataRecord[], tokenizer: Tokenizer, { columns, max_length, train_on_prompt }: EncodeOptions): Encoded {
  let truncated = 0
  const all = records.map((record): Example => {
    const { prompt, completion } = promptCompletion(record, columns)
    const given = tokenizer.encode(prompt)
    const ids = [...given, ...tokenizer.encode(completion, false), ...(tokenizer.end === undefined ? [] : [tokenizer.end])]
    if (ids.length > max_length) truncated++
    return { ids: ids.slice(0, max_length), tokenLabels: ids.slice(0, max_length).map((id, i) => (train_on_prompt || i >= given.length ? id : -100)) }
  })
  const examples = all.filter((e) => supervisedTokens(e) > 0)
  const supervised = examples.reduce((sum, e) => sum + supervisedTokens(e), 0)
  if (examples.length === 0)
    throw new GraftError(
      'NO_SUPERVISED_TOKENS',
      `None of the ${records.length} examples has a token to learn from: after cutting to max_length ${max_length} only prompts are left, or completions are empty. Raise data.max_length, or look at the data.`,
    )
  return { examples, report: report(examples, truncated, all.length - examples.length, supervised) }
}
/** The first token has no position before it that could predict it. */
const supervisedTokens = ({ tokenLabels = [] }: Example): number => tokenLabels.slice(1).filter((l) => l !== -100).length

/** Records without their answers, for prediction. */
export function encodeInputs(
  records: readonly DataRecord[],
  model: Model,
  { columns, max_length }: { columns: Columns; max_length: number | null },
): { examples: Example[]; pad: number } {
  const size = imageSize(model)
  if (size !== undefined) return { examples: records.map((r) => ({ ids: [], pixels: pixelsOf(r, columns, size) })), pad: 0 }
  const tokenizer = Tokenizer.open(model.folder, model.config)
  const limit = max_length ?? defaultMaxLength(model)
  return { examples: records.map((r) => ({ ids: tokenizer.encode(textField(r, columns, 'text').trim()).slice(0, limit) })), pad: tokenizer.pad }
}
/** Tokens a model has positions for. */
export const positions = ({ config }: Model): number => Number(config.max_position_embeddings ?? config.n_positions ?? Number.POSITIVE_INFINITY)
export const defaultMaxLength = (model: Model): number => Math.min(512, positions(model))

/** Numbers in one image the model takes; undefined for a model of texts. */
export function imageSize({ graph }: Model): number | undefined {
  const image = graph.inputs.find((v) => v.name === 'pixel_values')
  return image && elements(shapeOf(image).slice(1) as number[])
}
function pixelsOf({ fields, where }: DataRecord, columns: Columns, size: number): Float32Array {
  const pixels = Float32Array.from([fields[columns.pixel_values ?? 'pixel_values']].flat(4) as number[])
  if (pixels.length !== size || pixels.some(Number.isNaN)) throw new GraftError('BAD_IMAGE', `${where}: pixel_values holds ${pixels.length} numbers, the model takes ${size}.`)
  return pixels
}

/** Images as nested numbers in a field pixel_values, already normalised. */
export function encodeImages(records: readonly DataRecord[], labels: readonly string[], size: number, { columns }: EncodeOptions): Encoded {
  const examples = records.map((record): Example => ({ ids: [], pixels: pixelsOf(record, columns, size), label: labelOf(record, columns, labels) }))
  return { examples, report: report(examples, 0, 0, examples.length) }
}

const report = (examples: readonly Example[], truncated: number, unsupervised: number, supervised: number): EncodeReport => ({
  examples: examples.length,
  truncated,
  unsupervised,
  tokens: examples.reduce((sum, e) => sum + e.ids.length, 0),
  supervised,
})
