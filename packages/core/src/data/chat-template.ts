import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { GraftError } from '../errors.js'

export interface Message {
  role: string
  content: string
}
/** A text, and the ranges of it that the model is to learn to write. */
export interface MarkedText {
  text: string
  spans: readonly (readonly [start: number, end: number])[]
}

/** Private characters that no text holds, put where a template says that what the model writes begins and ends. */
const [opening, closing] = ['\uE0F0', '\uE0F1']

/** Special tokens are texts, or objects with the text in them. */
export const contentOf = (token: unknown): string | undefined => {
  if (typeof token === 'string') return token
  const content = (token as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? content : undefined
}
/** How a model wants conversations written: its own Jinja template. */
export class ChatTemplate {
  private readonly plain: Template
  /** the template with marks at {% generation %}, where it has that */
  private readonly marked?: Template

  private constructor(
    source: string,
    private readonly where: string,
    private readonly tokens: Record<string, string>,
  ) {
    try {
      this.plain = new Template(source)
      if (/{%-?\s*generation\b/.test(source)) this.marked = new Template(withMarks(source))
    } catch (cause) {
      throw new GraftError(
        'BAD_CHAT_TEMPLATE',
        `${where}: the chat template can't be read (${(cause as Error).message}).`,
        { cause },
      )
    }
  }

  /** chat_template.jinja, or the chat_template of tokenizer_config.json. */
  static open(folder: string, settings: Record<string, unknown>): ChatTemplate | undefined {
    const file = join(folder, 'chat_template.jinja')
    const named = settings.chat_template
    const listed = Array.isArray(named)
      ? (named.find((t) => t?.name === 'default') ?? named[0])?.template
      : named
    const source = existsSync(file) ? readFileSync(file, 'utf8') : listed
    if (typeof source !== 'string') return undefined
    const tokens = Object.entries(settings).flatMap(([key, v]) =>
      key.endsWith('_token') && contentOf(v) !== undefined ? [[key, contentOf(v) as string] as const] : [],
    )
    return new ChatTemplate(
      source,
      existsSync(file) ? file : join(folder, 'tokenizer_config.json'),
      Object.fromEntries(tokens),
    )
  }

  /** A conversation as text; with `prompt` it ends where the model's answer begins. */
  render(messages: readonly Message[], prompt = false): string {
    return this.run(this.plain, messages, prompt)
  }
  private run(template: Template, messages: readonly Message[], prompt: boolean): string {
    try {
      return template.render({ ...this.tokens, messages: [...messages], add_generation_prompt: prompt })
    } catch (cause) {
      throw new GraftError(
        'BAD_CHAT_TEMPLATE',
        `${this.where}: the chat template can't write this conversation (${(cause as Error).message}).`,
        { cause },
      )
    }
  }

  /**
   * A conversation with the assistant's parts marked. The template says where they lie: by {% generation %} where it has that, else by
   * what it adds when one more message is given; never by searching for words.
   */
  mark(messages: readonly Message[]): MarkedText {
    return this.marked ? fromMarks(this.run(this.marked, messages, false)) : this.byGrowth(messages)
  }
  private byGrowth(messages: readonly Message[]): MarkedText {
    const text = this.render(messages)
    const spans = messages.flatMap(({ role }, i) => {
      if (role !== 'assistant') return []
      const [before, through] = [
        this.render(messages.slice(0, i), true),
        this.render(messages.slice(0, i + 1)),
      ]
      // A template that rewrites earlier turns (drops their reasoning, say) shows what it makes of a turn only while that is the last.
      return text.startsWith(through) && through.startsWith(before)
        ? [[before.length, through.length] as const]
        : []
    })
    return { text, spans }
  }
}

function withMarks(source: string): string {
  return source
    .replace(
      /{%(-?)\s*generation\s*(-?)%}/g,
      (_, left, right) => `{%${left} generation ${right}%}{{- '${opening}' -}}`,
    )
    .replace(
      /{%(-?)\s*endgeneration\s*(-?)%}/g,
      (_, left, right) => `{{- '${closing}' -}}{%${left} endgeneration ${right}%}`,
    )
}
function fromMarks(marked: string): MarkedText {
  const spans: (readonly [number, number])[] = []
  let text = ''
  let start = 0
  for (const piece of marked.split(/([\uE0F0\uE0F1])/)) {
    if (piece === opening) start = text.length
    else if (piece === closing) spans.push([start, text.length])
    else text += piece
  }
  return { text, spans }
}
