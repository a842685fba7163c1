import { elements, shapeOf } from '@graft-peft/onnx'
import { GraftError, suggestion } from '../errors.js'
import { labelNumber } from './labels.js'
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
import { Tokenizer } from './tokenizer.js'

export interface CodingOptions {
  columns: Columns
  max_length: number
  /** supervise prompts too, not only completions */
  train_on_prompt: boolean
  /** how many tasks the method tells apart; one when left out */
  tasks?: number
}

/** Turns records into examples for one model: its tokenizer, the labels, the longest input. Counts what it had to cut. */
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

  /** Throws NO_TOKENIZER. */
  get tokenizer(): Tokenizer {
    this.opened ??= Tokenizer.open(this.model.folder, this.model.config)
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

  /** Throws UNKNOWN_LABEL. */
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
  /** The task a record belongs to, where there are several. Throws UNKNOWN_TASK. */
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
    if (!this.has(record, 'text_pair'))
      return { ids: this.cut(this.tokenizer.encode(this.text(record, 'text').trim())) }
    const { ids, types } = this.tokenizer.encodePair(
      this.text(record, 'text').trim(),
      this.text(record, 'text_pair').trim(),
    )
    return { ids: this.cut(ids), types: types.slice(0, this.options.max_length) }
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
    const ids = this.tokenizer.encode(text, special)
    const marks = this.mask(text, spans, ids, special)
    const all = this.withEnd(ids, marks)
    const supervised = all.marks.map((m) => m || this.options.train_on_prompt)
    return {
      ids: this.cut(all.ids),
      tokenLabels: all.ids.slice(0, this.options.max_length).map((id, i) => (supervised[i] ? id : -100)),
    }
  }
  /**
   * Which tokens lie in a range of the text. A range begins with the first token that differs from those of the text before it: a token
   * that straddles the border belongs to the range, as it would when the model continues the text.
   */
  private mask(
    text: string,
    spans: readonly (readonly [number, number])[],
    ids: readonly number[],
    special: boolean,
  ): boolean[] {
    const marks = new Array<boolean>(ids.length).fill(false)
    const { after } = special ? this.tokenizer.around : { after: [] }
    const tokensBefore = (end: number) =>
      end === text.length
        ? ids.length - endsWith(ids, after)
        : common(ids, this.tokenizer.encode(text.slice(0, end), special))
    for (const [start, end] of spans)
      marks.fill(true, start === 0 ? 0 : tokensBefore(start), tokensBefore(end))
    return marks
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
    const written = this.cut(this.tokenizer.encode(completion))
    const start = Number(this.model.config.decoder_start_token_id ?? this.model.config.pad_token_id ?? 0)
    return {
      ids: this.cut(this.tokenizer.encode(prompt)),
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
    const { before, after } = this.tokenizer.around
    const [ids, tokenLabels]: [number[], number[]] = [[...before], before.map(() => -100)]
    words.forEach((word, i) => {
      const own = this.tokenizer.encode(i === 0 ? word : ` ${word}`, false)
      ids.push(...own)
      own.forEach((_, j) => tokenLabels.push(j === 0 ? this.labelIndex(labels[i], record.where) : -100))
    })
    const room = this.options.max_length - after.length
    if (ids.length > room) this.truncated++
    return {
      ids: [...ids.slice(0, room), ...after],
      tokenLabels: [...tokenLabels.slice(0, room), ...after.map(() => -100)],
    }
  }

  /** A text and those that belong with it (positive), and where there is one, one that doesn't (negative). */
  related(record: DataRecord): Example {
    const encode = (name: string) => this.cut(this.tokenizer.encode(this.text(record, name).trim()))
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

/** How many tokens at the end of a list are these. */
const endsWith = (ids: readonly number[], after: readonly number[]): number =>
  after.length > 0 && after.every((id, i) => ids[ids.length - after.length + i] === id) ? after.length : 0
/** How many tokens two lists begin with alike. */
function common(a: readonly number[], b: readonly number[]): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}

/** Tokens of a text that are read where nothing says otherwise. */
export const defaultMaxLength = (model: Model): number => Math.min(512, model.positions)
/** Numbers in one image the model takes; undefined for a model of texts. */
export function imageSize({ graph }: Model): number | undefined {
  const image = graph.inputs.find((v) => v.name === 'pixel_values')
  return image && elements(shapeOf(image).slice(1) as number[])
}
