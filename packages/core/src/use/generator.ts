import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { configFile } from '../adapter/files.js'
import { baseModelOf, openAdapter, parametersOf, type OpenedAdapter } from '../adapter/open.js'
import type { Architecture, Task } from '../architecture/architecture.js'
import { readModelConfig } from '../architecture/open.js'
import { adapt, type Adapted } from '../compile/adapt.js'
import type { Registry } from '../container.js'
import type { Message } from '../data/chat-template.js'
import { type Tokenizer, tokenizerOf } from '../data/tokenizer.js'
import { GraftError, suggestion } from '../errors.js'
import { resolveModel } from '../hub/pull.js'
import type { Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import type { PrecisionOptions } from '../compile/precision.js'
import type { SessionOptions } from '../runtime/session.js'
import { Decoder } from './decoder.js'
import { greedy, Sampler, type SamplingOptions } from './sampler.js'
import { StreamedText } from './streamed-text.js'

/**
 * How a text is continued, and when that ends. What is left out: the most likely tokens, 256 of them, by the
 * adapter loaded first.
 */
export interface GenerationOptions extends Partial<SamplingOptions> {
  /** tokens to write at most */
  maxTokens?: number
  /** texts that end the writing, not part of it */
  stop?: readonly string[]
  /** the adapter to write with, by its name; null: the bare model */
  adapter?: string | null
  signal?: AbortSignal
}
/** What is continued: a text, a conversation in the model's chat template, or token ids. */
export type Prompt = string | readonly Message[] | readonly number[]
/** A text that was written. */
export interface Generated {
  text: string
  tokens: number
  /** tokens of the prompt */
  prompt: number
  /** why it ended */
  ended: 'end' | 'stop' | 'length' | 'aborted'
  /** seconds for the prompt, and for the rest */
  seconds: { prompt: number; writing: number }
}
const longest = 256

/** An adapter's graph, and its own parameters where others share the graph. */
interface Loaded {
  decoder: Decoder
  /** the base's, or with tokens of the adapter's own */
  tokenizer: Tokenizer
  parameters?: Float32Array
}

/**
 * A language model that was opened once and continues texts, with any number of adapters of the same base
 * loaded side by side.
 *
 * @throws NO_TASK on loading an adapter that tells tasks apart, which writing has no way to say.
 */
export class Generator {
  readonly tokenizer: Tokenizer
  private readonly decoders = new Map<string, Decoder>()
  private readonly adapters = new Map<string, Loaded>()

  constructor(
    private readonly model: Model,
    private readonly session: SessionOptions & PrecisionOptions = {},
  ) {
    this.tokenizer = tokenizerOf(model)
  }

  /**
   * Opens a model with a key-value cache: a folder, an .onnx file, or a repository; or an adapter, with its
   * base, under the name of its folder.
   *
   * @throws what opening either throws.
   */
  static async open(
    given: string,
    registry: Registry,
    session: SessionOptions & PrecisionOptions = {},
  ): Promise<Generator> {
    const path = await resolveModel(given)
    const adapter = existsSync(join(path, configFile)) ? path : undefined
    const base = adapter ? await baseModelOf(adapter) : path
    const architectures = registry.all('architecture')
    const model = openModel(base, { architectures, task: writingTask(base, architectures), cache: true })
    const generator = new Generator(model, session)
    if (adapter)
      await generator.load(basename(adapter), await openAdapter(adapter, registry, base, { cache: true }))
    return generator
  }

  /** the base model's path */
  get base(): string {
    return this.model.path
  }
  /** of the adapters loaded, in their order */
  get names(): string[] {
    return [...this.adapters.keys()]
  }

  /**
   * Loads an adapter under a name. Adapters of the same method, options and modules share one graph and
   * differ in what is fed.
   *
   * @throws NOT_A_WRITER.
   */
  async load(name: string, adapter: OpenedAdapter): Promise<void> {
    const { method, methodOptions: config, precision, objective } = adapter.options
    if (objective.task !== 'causal-lm' && objective.task !== 'sequence-to-sequence')
      throw new GraftError(
        'NOT_A_WRITER',
        `${adapter.folder}: its objective is ${objective.name}, which writes no texts; use graft predict.`,
      )
    const tasks = method.tasks?.(config) ?? 1
    if (tasks > 1)
      throw new GraftError(
        'NO_TASK',
        `${adapter.folder}: ${method.name} tells ${tasks} tasks apart, and writing has no way to say which. Use graft predict, whose records have a field task.`,
      )
    if (method.virtualTokens && this.answers)
      throw new GraftError(
        'NOT_A_WRITER',
        `${adapter.folder}: ${method.name} sets tokens before the text, which can't be generated from for a model with an encoder; use graft predict.`,
      )
    const model = adapter.ownsModel || method.wholeTexts ? adapter.model : this.model
    const shared = this.sharing(adapter)
    const key = shared ? JSON.stringify([method.name, config, precision]) : name
    const decoder =
      this.decoders.get(key) ??
      (await Decoder.open(model, adapter, { ...this.session, pad: this.tokenizer.pad }))
    this.decoders.set(key, decoder)
    this.adapters.set(name, {
      decoder,
      tokenizer: model.addedTokens.length > 0 ? tokenizerOf(model) : this.tokenizer,
      parameters: shared && parametersOf(adapter, shared),
    })
  }

  /**
   * Continues a prompt to its end.
   *
   * @throws what stream does.
   */
  async generate(prompt: Prompt, options: GenerationOptions = {}): Promise<Generated> {
    const writing = this.stream(prompt, options)
    for (;;) {
      const { value, done } = await writing.next()
      if (done) return value
    }
  }

  /**
   * Continues a prompt; yields pieces of text as they come and returns the whole.
   *
   * @throws UNKNOWN_ADAPTER, TOO_LONG, NO_TOKENS, NO_CHAT_TEMPLATE.
   */
  async *stream(
    given: Prompt,
    { adapter = this.names[0], maxTokens = longest, stop = [], signal, ...sampling }: GenerationOptions = {},
  ): AsyncGenerator<string, Generated> {
    const { decoder, parameters, tokenizer } = await this.decoder(adapter)
    const prompt = this.encode(given, tokenizer)
    if (prompt.length === 0)
      throw new GraftError(
        'NO_TOKENS',
        'The prompt has no tokens, so there is nothing to continue. Give a text, or a conversation (--chat).',
      )
    const sampler = new Sampler({ ...greedy, ...sampling })
    const sequence = decoder.begin(parameters)
    const limit = Math.min(maxTokens, this.room(prompt.length))
    const text = new StreamedText(tokenizer, stop)
    const started = performance.now()
    let ended: Generated['ended'] = 'length'
    let first = started
    let count = 0
    try {
      let next = sampler.next(await sequence.read(prompt))
      first = performance.now()
      for (; count < limit; count++) {
        if (tokenizer.ends.has(next)) ended = 'end'
        else if (signal?.aborted) ended = 'aborted'
        else {
          const piece = text.add(next)
          if (piece !== '') yield piece
          if (text.stopped) ended = 'stop'
        }
        if (ended !== 'length' || count + 1 === limit) break
        next = sampler.next(await sequence.read([next]))
      }
      const rest = text.flush()
      if (rest !== '') yield rest
    } finally {
      await sequence.end()
    }
    const seconds = { prompt: (first - started) / 1000, writing: (performance.now() - first) / 1000 }
    return {
      text: text.whole,
      tokens: count + Number(ended === 'length' && limit > 0),
      prompt: prompt.length,
      ended,
      seconds,
    }
  }

  /** Token ids of a prompt; a conversation ends where the model is to answer. */
  private encode(prompt: Prompt, tokenizer: Tokenizer): readonly number[] {
    if (typeof prompt === 'string') return tokenizer.encode(prompt)
    const isIds = (p: readonly unknown[]): p is readonly number[] => p.every((id) => typeof id === 'number')
    if (isIds(prompt)) return prompt
    const { template } = tokenizer
    if (!template)
      throw new GraftError(
        'NO_CHAT_TEMPLATE',
        `${this.model.folder}: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json). Use graft generate with --prompt.`,
      )
    return tokenizer.encode(template.render({ messages: prompt }, true), false)
  }

  async close(): Promise<void> {
    await Promise.all([...this.decoders.values()].map((d) => d.close()))
  }

  private async decoder(name: string | null | undefined): Promise<Loaded> {
    if (name === undefined || name === null) {
      const bare =
        this.decoders.get('') ??
        (await Decoder.open(this.model, undefined, { ...this.session, pad: this.tokenizer.pad }))
      this.decoders.set('', bare)
      return { decoder: bare, tokenizer: this.tokenizer }
    }
    const found = this.adapters.get(name)
    if (!found)
      throw new GraftError(
        'UNKNOWN_ADAPTER',
        `No adapter named ${name} is loaded. ${suggestion(name, this.names)}`,
      )
    return found
  }
  /**
   * What an adapter makes of the base, where others of its kind can share the graph. Buffers (VeRA's
   * projections, SHiRA's places) are constants of the graph, so adapters that hold some can't.
   */
  private sharing({ ownsModel, options }: OpenedAdapter): Adapted | undefined {
    if (ownsModel || options.method.virtualTokens) return undefined
    const adapted = adapt(this.model, { ...options, training: false })
    return adapted.buffers.some((b) => b.stored) ? undefined : adapted
  }
  /** Whether an encoder reads the text and a decoder writes another. */
  private get answers(): boolean {
    return this.model.graph.inputs.some((v) => v.name === 'decoder_input_ids')
  }
  private room(prompt: number): number {
    const left = this.model.positions - prompt
    const room = this.answers && left >= 0 ? this.model.positions : left
    if (room <= 0)
      throw new GraftError(
        'TOO_LONG',
        `The prompt has ${prompt} tokens, the model positions for ${this.model.positions}. Shorten it.`,
      )
    return room
  }
}

/** What a folder's model is to be built for to write: a language model, else an encoder and a decoder. */
function writingTask(folder: string, architectures: readonly Architecture[]): Task {
  const type = existsSync(join(folder, 'config.json')) && String(readModelConfig(folder).model_type)
  const tasks = architectures.find((a) => type && a.modelTypes.includes(type))?.tasks ?? []
  return tasks.includes('sequence-to-sequence') && !tasks.includes('causal-lm')
    ? 'sequence-to-sequence'
    : 'causal-lm'
}
