import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { GraftError } from '../errors.js'
import { TemplateFault } from './jinja/lexer.js'
import { JinjaTemplate, type Rendered } from './jinja/template.js'
import { parseJson } from './json.js'
import { type MarkedText, markTurns, type Message } from './turns.js'

export type { MarkedText, Message }

/** A conversation and the tools that may be called in it, as JSON schemas. */
export interface Conversation {
  messages: readonly Message[]
  tools?: readonly unknown[]
}

/** Special tokens are texts, or objects with the text in them. */
export const contentOf = (token: unknown): string | undefined => {
  if (typeof token === 'string') return token
  const content = (token as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? content : undefined
}

/** A template by its name, and the file it stands in. */
interface Source {
  text: string
  file: string
}

/** How a model wants conversations written: its own Jinja template, run as transformers runs it. */
export class ChatTemplate {
  /** texts that are one token each, which no range of a text cuts */
  private readonly units: readonly string[]
  private readonly compiled = new Map<string, JinjaTemplate>()

  private constructor(
    private readonly sources: ReadonlyMap<string, Source>,
    private readonly tokens: Readonly<Record<string, string>>,
    added: readonly string[],
    private readonly now?: Date,
  ) {
    this.units = [...new Set([...added, ...Object.values(tokens)])].filter((unit) => unit !== '')
  }

  /** One template, without a folder; `now` is what strftime_now tells. Throws BAD_CHAT_TEMPLATE. */
  static of(text: string, tokens: Readonly<Record<string, string>> = {}, now?: Date): ChatTemplate {
    return new ChatTemplate(new Map([['default', { text, file: 'the template' }]]), tokens, [], now)
  }

  /**
   * A folder's templates: chat_template.jinja and additional_chat_templates/, or the chat_template of tokenizer_config.json, one or
   * several by name; chat_template.json as older processors have it. Undefined where there is none. Throws BAD_CHAT_TEMPLATE.
   */
  static open(
    folder: string,
    settings: Record<string, unknown>,
    tokens: Readonly<Record<string, string>>,
    units: readonly string[] = [],
  ): ChatTemplate | undefined {
    const sources = sourcesOf(folder, settings)
    if (sources.size === 0) return undefined
    const template = new ChatTemplate(sources, tokens, units)
    for (const name of sources.keys()) template.named(name)
    return template
  }

  /** A conversation as text; with `prompt` it ends where the model's answer begins. Throws BAD_CHAT_TEMPLATE. */
  render(conversation: Conversation, prompt = false): string {
    return this.run(conversation, prompt).text
  }
  private run({ messages, tools }: Conversation, prompt: boolean): Rendered {
    const name = tools && this.sources.has('tool_use') ? 'tool_use' : 'default'
    const variables = { messages: messages.map(normalised), tools: tools ?? null, documents: null }
    return this.guarded(name, () =>
      this.named(name).render({ ...this.tokens, ...variables, add_generation_prompt: prompt }, this.now),
    )
  }
  private named(name: string): JinjaTemplate {
    const made =
      this.compiled.get(name) ??
      this.guarded(name, () => new JinjaTemplate((this.sources.get(name) as Source).text))
    this.compiled.set(name, made)
    return made
  }
  private guarded<T>(name: string, compute: () => T): T {
    try {
      return compute()
    } catch (cause) {
      if (!(cause instanceof TemplateFault) && !(cause instanceof RangeError)) throw cause
      const reason = cause instanceof TemplateFault ? cause.message : 'it is nested too deep'
      throw new GraftError(
        'BAD_CHAT_TEMPLATE',
        `${this.sources.get(name)?.file}: the chat template fails: ${reason}. Mend the conversation, or the template.`,
        { cause },
      )
    }
  }

  /**
   * A conversation with the assistant's parts marked. The template says where they lie: by {% generation %} where it has that, else by
   * what it adds when one more message is given; never by searching for words. Throws BAD_CHAT_TEMPLATE, NO_TOOLS.
   */
  mark(conversation: Conversation): MarkedText {
    const { text, generated } = this.run(conversation, false)
    checkCalls(conversation, text)
    const render = (count: number, prompt: boolean) =>
      this.render({ ...conversation, messages: conversation.messages.slice(0, count) }, prompt)
    const ranges = generated && generated.length > 0 ? generated : undefined
    return markTurns({ messages: conversation.messages, text, ranges, render, units: this.units })
  }
}

/** As transformers hands messages on: fields that are null are left out, and reasoning goes by all its names. */
function normalised(message: Message): Record<string, unknown> {
  const given = Object.fromEntries(Object.entries(message).filter(([, v]) => v !== null && v !== undefined))
  const reasoning = given.reasoning_content ?? given.thinking ?? given.reasoning
  return reasoning === undefined ? given : { thinking: reasoning, ...given, reasoning_content: reasoning }
}

/** A call that the template doesn't write would teach the model to say nothing. */
function checkCalls({ messages }: Conversation, text: string): void {
  for (const { tool_calls } of messages) {
    if (!Array.isArray(tool_calls)) continue
    for (const call of tool_calls) {
      const name = (call?.function ?? call)?.name
      if (typeof name === 'string' && !text.includes(name))
        throw new GraftError(
          'NO_TOOLS',
          `The conversation calls the tool ${name}, and the model's chat template writes no tool_calls. Choose a model whose template does, or write the calls into content.`,
        )
    }
  }
}

function sourcesOf(folder: string, settings: Record<string, unknown>): Map<string, Source> {
  const sources = new Map<string, Source>()
  const add = (name: string, text: unknown, file: string) => {
    if (typeof text === 'string') sources.set(name, { text, file })
  }
  const single = join(folder, 'chat_template.jinja')
  const more = join(folder, 'additional_chat_templates')
  if (existsSync(single)) add('default', readFileSync(single, 'utf8'), single)
  for (const file of existsSync(more) ? readdirSync(more).filter((f) => f.endsWith('.jinja')) : [])
    add(basename(file, '.jinja'), readFileSync(join(more, file), 'utf8'), join(more, file))
  if (sources.size > 0) return sources
  const config = join(folder, 'tokenizer_config.json')
  const older = join(folder, 'chat_template.json')
  const given = settings.chat_template ?? (existsSync(older) ? fromJson(older) : undefined)
  const file = settings.chat_template === undefined ? older : config
  if (!Array.isArray(given)) add('default', given, file)
  else for (const t of given) add(String(t?.name), t?.template, file)
  if (sources.size > 0 && !sources.has('default'))
    throw new GraftError(
      'BAD_CHAT_TEMPLATE',
      `${file}: the chat templates are named ${[...sources.keys()].join(', ')}; one of them must be named default.`,
    )
  return sources
}
function fromJson(file: string): unknown {
  try {
    return (parseJson(readFileSync(file, 'utf8')) as { chat_template?: unknown } | null)?.chat_template
  } catch (cause) {
    throw new GraftError('BAD_CHAT_TEMPLATE', `${file}: not JSON (${(cause as Error).message}).`, { cause })
  }
}
