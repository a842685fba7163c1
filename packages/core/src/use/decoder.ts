import { type Builder, type Graph, type IntegerOptions, shapeOf, type Value } from '@graft-peft/onnx'
import { parametersIn } from '../adapter/fold.js'
import { type Adapted, adapt } from '../compile/adapt.js'
import { integersFor, type PrecisionOptions } from '../compile/precision.js'
import { tasksInput, tasksOf } from '../data/batches.js'
import { finish } from '../compile/step.js'
import { noVirtualTokens } from '../method/method.js'
import type { Model } from '../model/model.js'
import { type OpenedAdapter, parametersOf } from '../adapter/open.js'
import { transpose } from '../numbers/initialise.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, int64, type Tensors } from '../runtime/tensor.js'
import { withoutEncoder } from './without-encoder.js'

/**
 * A language model ready to write, under one adapter or none: the text so far goes in, logits of the next
 * token come out.
 */
export class Decoder {
  private serial = 0

  private constructor(
    private readonly prompt: Session,
    /** for the tokens after the prompt; the same session unless the adapter stands before the text, or an encoder has read it */
    private readonly step: Session,
    private readonly shape: CacheShape,
    /** dummy tokens that every text starts with */
    private readonly virtual: number,
    private readonly pad: number,
    /** fed to the adapted graph; none for the bare model */
    private readonly parameters: Float32Array | undefined,
  ) {}

  /**
   * Opens a model that was built or exported with a cache; one without reads the whole text again for each
   * token. A precision given goes before the adapter's own. Throws what attaching throws.
   */
  static async open(
    model: Model,
    adapter: OpenedAdapter | undefined,
    { pad, precision, integers, ...session }: SessionOptions & PrecisionOptions & { pad: number },
  ): Promise<Decoder> {
    const shape = cacheShape(model)
    const chosen: PrecisionOptions = precision ? { precision, integers } : (adapter?.options ?? {})
    // A token is one row: packing the matrices of integers for each would take twice its time.
    const options = { prepack: chosen.precision === 'int8', ...session }
    const base = adapter?.options.method.wholeTexts ? model : withLastRow(model)
    const bare = (over = base) => Session.open(withLogits(over.fork(), integersFor(chosen)), options)
    if (!adapter) {
      const session = await bare()
      return new Decoder(session, session, shape, 0, pad, undefined)
    }
    const { precision: type, integers: plan } = chosen
    const adapted = adapt(base, { ...adapter.options, precision: type, integers: plan, training: false })
    const parameters = parametersOf(adapter, adapted)
    const { count } = adapter.options.method.virtualTokens?.(adapter.options.methodOptions) ?? noVirtualTokens
    // An encoder has read its text with the prompt; what follows is the decoder's work alone.
    const alone =
      shape.start === undefined || shape.past.length === 0 ? undefined : withoutEncoder(adapted.model)
    const open = (of: Model) => Session.open(withLogits(of, adapted.integers), options)
    const prompt = await open(adapted.model)
    // Prompts and prefixes are part of the past once the first tokens are read; what follows is the work of the model without them.
    const hasPrefix = count > 0 && shape.past.length > 0
    const step = hasPrefix
      ? await bare(withTrained(base, adapted, parameters))
      : alone
        ? await open(alone)
        : prompt
    return new Decoder(prompt, step, shape, count, pad, parameters)
  }

  /** Starts a text, under the adapter that the decoder was opened with or another of the same kind. */
  begin(parameters = this.parameters): Sequence {
    return new Sequence(
      this.prompt,
      this.step,
      this.shape,
      this.virtual,
      this.pad,
      parameters,
      `${++this.serial}`,
    )
  }

  async close(): Promise<void> {
    await this.prompt.close()
    if (this.step !== this.prompt) await this.step.close()
  }
}

/** One text being read and written. */
export class Sequence {
  /** tokens in the cache */
  private length = 0
  /** the text so far, for a model without a cache */
  private readonly ids: number[] = []
  /** tokens that an encoder has read */
  private source = 0

  constructor(
    private readonly prompt: Session,
    private readonly step: Session,
    private readonly shape: CacheShape,
    private readonly virtual: number,
    private readonly pad: number,
    private readonly parameters: Float32Array | undefined,
    private readonly key: string,
  ) {}

  /** Reads tokens and gives the logits of the one after them. */
  async read(ids: readonly number[]): Promise<Float32Array> {
    const first = this.length === 0
    const all =
      first && this.virtual > 0
        ? [...new Array<number>(this.virtual).fill(this.pad === 0 ? 1 : 0), ...ids]
        : ids
    if (this.shape.past.length === 0) return this.readAgain(all)
    const total = this.length + all.length
    const feeds: Tensors = {
      ...(this.shape.start === undefined ? this.continued(all, total) : this.answered(all, this.shape.start)),
      [tasksInput]: tasksOf([0]),
      ...(first ? emptyCache(this.shape) : {}),
      ...(this.parameters && (first || this.virtual === 0) ? { parameters: float32(this.parameters) } : {}),
    } // biome-ignore format: a table
    this.length = total
    if (first && this.step !== this.prompt) return this.handOver(feeds)
    const { logits } = await (first ? this.prompt : this.step).run(feeds, {
      carry: { key: this.key, inputs: this.shape.carried },
    })
    return logits.data as Float32Array
  }
  private continued(ids: readonly number[], total: number): Tensors {
    return {
      input_ids: int64(ids, [1, ids.length]),
      attention_mask: ones(total),
      position_ids: int64(Array.from(ids, (_, i) => this.length + i), [1, ids.length]),
    } // biome-ignore format: a table
  }
  /** What an encoder and a decoder get: first the whole text to read, then the tokens written. */
  private answered(ids: readonly number[], start: number): Tensors {
    const [first, written] = [this.length === 0, this.length === 0 ? [start] : ids]
    if (first) this.source = ids.length
    const total = first ? 1 : this.length - this.source + 1 + ids.length
    return {
      input_ids: int64(first ? ids : [], [1, first ? ids.length : 0]),
      attention_mask: ones(this.source),
      decoder_input_ids: int64(written, [1, written.length]),
      decoder_attention_mask: ones(total),
    }
  }
  private async readAgain(ids: readonly number[]): Promise<Float32Array> {
    if (this.length === 0) this.source = ids.length
    this.ids.push(...ids)
    this.length = this.ids.length
    const { start } = this.shape
    if (start !== undefined) return this.answerAgain(start)
    const shape = [1, this.length]
    const each = (number: number) => int64(new Array(this.length).fill(number), shape)
    return this.again({
      input_ids: int64(this.ids, shape),
      attention_mask: each(1),
      position_ids: int64([...this.ids.keys()], shape),
      token_type_ids: each(0),
      [tasksInput]: tasksOf([0]),
    })
  }
  private answerAgain(start: number): Promise<Float32Array> {
    const written = [start, ...this.ids.slice(this.source)]
    return this.again({
      input_ids: int64(this.ids.slice(0, this.source), [1, this.source]),
      attention_mask: ones(this.source),
      decoder_input_ids: int64(written, [1, written.length]),
      [tasksInput]: tasksOf([0]),
    })
  }
  private async again(feeds: Tensors): Promise<Float32Array> {
    const parameters: Tensors = this.parameters ? { parameters: float32(this.parameters) } : {}
    const { logits } = await this.prompt.run({ ...feeds, ...parameters })
    return logits.data as Float32Array
  }
  /** The cache that one session made goes to another. */
  private async handOver(feeds: Tensors): Promise<Float32Array> {
    const outputs = await this.prompt.run(feeds)
    const past = Object.fromEntries(
      Object.entries(this.shape.carried).map(([output, input]) => [input, outputs[output]]),
    )
    await this.step.seed(this.key, past)
    return outputs.logits.data as Float32Array
  }

  end(): Promise<void> {
    return this.step.forget(this.key)
  }
}

interface CacheShape {
  /** present output → past input */
  carried: Record<string, string>
  past: readonly { name: string; heads: number; width: number }[]
  /** the token that a decoder behind an encoder starts with */
  start?: number
}
const ones = (count: number): Tensors[string] => int64(new Array<number>(count).fill(1), [1, count])
function cacheShape({ graph, config }: Model): CacheShape {
  const past = graph.inputs.filter((v) => v.name.startsWith('past_key_values.'))
  const carried = Object.fromEntries(
    past.map(({ name }) => [name.replace('past_key_values.', 'present.'), name]),
  )
  const answers = graph.inputs.some((v) => v.name === 'decoder_input_ids')
  return {
    carried,
    start: answers ? Number(config.decoder_start_token_id ?? config.pad_token_id ?? 0) : undefined,
    past: past.map((v) => ({ name: v.name, heads: Number(shapeOf(v)[1]), width: Number(shapeOf(v)[3]) })),
  }
}
const emptyCache = ({ past }: CacheShape): Tensors =>
  Object.fromEntries(
    past.map(({ name, heads, width }) => [name, float32(new Float32Array(0), [1, heads, 0, width])]),
  )

/**
 * A fork whose output layer reads the last position alone: done before anything is attached, so that what
 * adapts that layer reads no more.
 */
function withLastRow(model: Model): Model {
  const fork = model.fork()
  const { head, g } = fork
  if (head && shapeOf(head.input.value).length === 3) head.input.map((v) => lastOf(g, v))
  return fork
}
const lastOf = (g: Builder, v: Value): Value => g.slice(v, -1, Number.MAX_SAFE_INTEGER, 1)

/** The graph with logits of the last position: [vocabulary]. */
function withLogits(model: Model, integers?: IntegerOptions): Graph {
  const { g, graph } = model
  const logits = g.reshape(lastOf(g, model.logits), [-1])
  const present = graph.outputs.filter((v) => v.name.startsWith('present.'))
  return finish(g, { ...Object.fromEntries(present.map((v) => [v.name, v])), logits }, integers)
}

/** The model with the modules that were trained in full beside the method. */
function withTrained(base: Model, { variables, own }: Adapted, parameters: Float32Array): Model {
  const trained = base.fork()
  const slots = new Map(parametersIn(trained).map(({ name, slot }) => [name, slot]))
  for (const { name, offset, size } of variables.list.slice(own)) {
    const values = parameters.slice(offset, offset + size)
    const slot = slots.get(name)
    slot?.set(slot.transposed ? transpose(values, slot.shape[0], slot.shape[1]) : values)
  }
  return trained
}
