import { elements, shapeOf } from '@graft-peft/onnx'
import { GraftError, suggestion } from '../errors.js'
import { labelNumber } from './labels.js'
import type { Encoded, Placed } from './native-tokenizer.js'
import type { Model } from '../model/model.js'
import type { Example } from './example.js'
import { readPixels } from './images.js'
import {
  type Columns,
  type DataRecord,
  type Notice,
  fieldOf,
  hasField,
  listField,
  numberField,
  textField,
} from './records.js'
import { promptAndCompletion, textForm } from './texts.js'
import { type Tokenizer, tokenizerOf } from './tokenizer.js'

export interface CodingOptions {
  columns: Columns
  max_length: number
  /** supervise prompts too, not only completions */
  train_on_prompt: boolean
  /** how many tasks the method tells apart; one when left out */
  tasks?: number
}

/**
 * Turns records into examples for one model: its tokenizer, the labels, the longest input. Counts what it had to cut.
 *
 * @throws BAD_DATA_LINE for a record without a field that is read, or with one of another kind; BAD_IMAGE for one
 * that holds another count of pixels than the model takes. Both name file and line.
 */
export class Coder {
  truncated = 0
  /** what was left out, by reason */
  left: Record<string, number> = {}
  private opened?: Tokenizer

  constructor(
    readonly model: Model,
    readonly labels: readonly string[],
    readonly options: CodingOptions,
    private readonly notice?: Notice,
  ) {}

  /** @throws NO_TOKENIZER. */
  get tokenizer(): Tokenizer {
    this.opened ??= tokenizerOf(this.model)
    return this.opened
  }
  get pad(): number {
    if (imageSize(this.model) !== undefined) return 0
    const { pad } = this.tokenizer
    const rows = this.model.tokenEmbedding?.rows ?? Number.POSITIVE_INFINITY
    // Padding is masked: where config.json names a token that the model has no row for, any other serves.
    return pad >= 0 && pad < rows ? pad : 0
  }

  text(record: DataRecord, name: string): string {
    return textField(record, this.options.columns, name)
  }
  has(record: DataRecord, name: string): boolean {
    return hasField(record, this.options.columns, name)
  }
  field(record: DataRecord, name: string): unknown {
    return fieldOf(record, this.options.columns, name)
  }

  /** @throws UNKNOWN_LABEL. */
  labelIndex(name: string, where: string): number {
    const index = labelNumber(name, this.labels)
    if (index === undefined)
      throw new GraftError(
        'UNKNOWN_LABEL',
        `${where}: label ${name} does not occur in the training data. ${suggestion(name, this.labels)}`,
      )
    return index
  }
  number(record: DataRecord, name: string): number {
    return numberField(record, this.options.columns, name)
  }
  /**
   * The task a record belongs to, where there are several.
   *
   * @throws UNKNOWN_TASK.
   */
  task(record: DataRecord): Pick<Example, 'task'> {
    const { tasks = 1 } = this.options
    if (tasks === 1) return {}
    const task = this.number(record, 'task')
    if (Number.isInteger(task) && task >= 0 && task < tasks) return { task }
    throw new GraftError(
      'UNKNOWN_TASK',
      `${record.where}: task ${task} is none of the method's ${tasks} tasks, 0 to ${tasks - 1}.`,
    )
  }
  /** Counts what is not learnt, and why. */
  leave(reason: string, count = 1): void {
    if (count > 0) this.left[reason] = (this.left[reason] ?? 0) + count
  }
  cut<T>(list: readonly T[]): readonly T[] {
    if (list.length <= this.options.max_length) return list
    this.truncated++
    this.leave('tokens beyond max_length', list.length - this.options.max_length)
    return list.slice(0, this.options.max_length)
  }

  /** What a classifier sees of a record: a text, two texts, or an image. */
  input(record: DataRecord): Example {
    if (imageSize(this.model) !== undefined) return this.image(record)
    const pair = this.has(record, 'text_pair') ? this.text(record, 'text_pair').trim() : undefined
    const { ids, types } = this.framed(this.text(record, 'text').trim(), pair)
    return pair === undefined ? { ids } : { ids, types }
  }
  /** A text or two with what the model has around them, which stays where the texts are cut: of two the longer first. */
  private framed(text: string, pair?: string): Encoded {
    const what = { text, special: true, ...(pair === undefined ? {} : { pair }) }
    const whole = this.tokenizer.encoded(what)
    const most = this.options.max_length
    if (whole.ids.length <= most) return whole
    this.truncated++
    this.leave('tokens beyond max_length', whole.ids.length - most)
    return this.tokenizer.encoded({ ...what, most })
  }

  private image(record: DataRecord): Example {
    if (this.has(record, 'image'))
      return { ids: [], image: { file: this.text(record, 'image'), where: record.where } }
    const size = imageSize(this.model) as number
    const pixels = Float32Array.from([this.field(record, 'pixel_values')].flat(4) as number[])
    if (pixels.length !== size || pixels.some(Number.isNaN))
      throw new GraftError(
        'BAD_IMAGE',
        `${record.where}: pixel_values holds ${pixels.length} numbers, the model takes ${size}. Or name an image file in field image.`,
      )
    return { ids: [], pixels }
  }

  /** A text to continue, its supervised tokens marked: those of completions, or all. The end of what the model writes is supervised too. */
  language(record: DataRecord): Example {
    const form = textForm(record, this.options.columns)
    const {
      text,
      spans,
      left = {},
      notice,
    } = form.read(record, this.options.columns, form.templated ? this.tokenizer.template : undefined)
    for (const [reason, count] of Object.entries(left)) this.leave(reason, count)
    if (notice) this.notice?.(notice)
    const special = !form.templated
    const encoded = this.tokenizer.encoded({ text, special, places: true })
    const all = this.withEnd(encoded.ids, marksOf(text, spans, encoded))
    const supervised = all.marks.map((m) => m || this.options.train_on_prompt)
    return {
      ids: this.cut(all.ids),
      tokenLabels: all.ids.slice(0, this.options.max_length).map((id, i) => (supervised[i] ? id : -100)),
    }
  }
  /** What the model writes last ends in a token that says so; it is supervised, and added where the text has none. */
  private withEnd(
    ids: readonly number[],
    marks: readonly boolean[],
  ): { ids: readonly number[]; marks: readonly boolean[] } {
    const { end, ends } = this.tokenizer
    const last = marks.lastIndexOf(true)
    const first = marks.lastIndexOf(false, last) + 1
    if (last < 0 || end === undefined || ids.slice(first, last + 1).some((id) => ends.has(id)))
      return { ids, marks }
    if (ends.has(ids[last + 1])) return { ids, marks: marks.map((m, i) => m || i === last + 1) }
    return last === ids.length - 1 ? { ids: [...ids, end], marks: [...marks, true] } : { ids, marks }
  }

  /** What an encoder reads and a decoder writes. */
  pair(record: DataRecord): Example {
    const { prompt, completion } = promptAndCompletion(
      record,
      this.options.columns,
      () => this.tokenizer.template,
    )
    const written = this.framed(completion).ids
    const start = Number(this.model.config.decoder_start_token_id ?? this.model.config.pad_token_id ?? 0)
    return {
      ids: this.framed(prompt).ids,
      decoderIds: [start, ...written.slice(0, -1)],
      tokenLabels: written,
    }
  }

  /** Words with a label each; the first token of a word carries its label. */
  words(record: DataRecord): Example {
    const words = listField(record, this.options.columns, 'tokens')
    const labels = listField(record, this.options.columns, 'labels')
    if (words.length !== labels.length)
      throw new GraftError(
        'BAD_DATA_LINE',
        `${record.where}: ${words.length} tokens but ${labels.length} labels; each token needs one.`,
      )
    const { ids, words: of } = this.joined(words)
    const at = of.map((word, i) => (word !== null && of.indexOf(word) === i ? word : undefined))
    const known = new Set(of.filter((word) => word !== null)).size
    this.leave('words without a token of their own, or beyond max_length', words.length - known)
    const label = (word: number) => this.labelIndex(labels[word], record.where)
    return {
      ids,
      tokenLabels: at.map((word) => (word === undefined ? -100 : label(word))),
      words: { count: words.length, at: at.filter((word) => word !== undefined) },
    }
  }
  /** Words one by one in the model's frame; with a blank before all but the first, where tokens begin with one. */
  private joined(words: readonly string[]): { ids: number[]; words: (number | null)[] } {
    const { before, after } = this.tokenizer.around
    const joins = this.tokenizer.joinsWords
    const own = words.map((word, i) => this.tokenizer.encode(i > 0 && joins ? ` ${word}` : word, false))
    const room = this.options.max_length - before.length - after.length
    const ids = own.flat()
    if (ids.length > room) {
      this.truncated++
      this.leave('tokens beyond max_length', ids.length - room)
    }
    const of = own.flatMap((list, i) => list.map(() => i)).slice(0, room)
    const none = (frame: readonly number[]) => frame.map(() => null)
    return {
      ids: [...before, ...ids.slice(0, room), ...after],
      words: [...none(before), ...of, ...none(after)],
    }
  }

  /** A text and those that belong with it (positive), and where there is one, one that doesn't (negative). */
  related(record: DataRecord): Example {
    const encode = (name: string) => this.framed(this.text(record, name).trim()).ids
    return {
      ids: encode('anchor'),
      others: [encode('positive'), ...(this.has(record, 'negative') ? [encode('negative')] : [])],
    }
  }

  /** An example with its image read, where it has one. */
  async load(example: Example): Promise<Example> {
    if (!example.image) return example
    const shape = shapeOf(this.model.input('pixel_values')).slice(1) as number[]
    return { ...example, pixels: await readPixels(example.image, shape, this.model.folder) }
  }
}

/** Which tokens lie in a range of the text, or reach into one: a token that straddles a border belongs to what is learnt. */
function marksOf(
  text: string,
  spans: readonly (readonly [number, number])[],
  { offsets, special }: Placed,
): boolean[] {
  // Tokens count characters as Python does, JavaScript counts halves of those beyond U+FFFF.
  const wide = /[\ud800-\udfff]/.test(text)
  const at = (n: number) => (wide ? [...text.slice(0, n)].length : n)
  const ranges = spans.map(([start, end]) => [at(start), at(end)])
  return offsets.map(
    ([from, to], i) => special[i] === 0 && ranges.some(([start, end]) => from < end && to > start),
  )
}

/** Tokens of a text that are read where nothing says otherwise. */
export const defaultMaxLength = (model: Model): number => Math.min(512, model.positions)
/** Numbers in one image the model takes; undefined for a model of texts. */
export function imageSize({ graph }: Model): number | undefined {
  const image = graph.inputs.find((v) => v.name === 'pixel_values')
  return image && elements(shapeOf(image).slice(1) as number[])
}
