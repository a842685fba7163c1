import { GraftError, nearest } from '../errors.js'
import { shown } from '../files/json.js'
import { alpacaPrompt } from './alpaca.js'
import type { ChatTemplate, Conversation, MarkedText, Message } from './chat-template.js'
import { parseJson } from './json.js'
import { type Columns, type DataRecord, fieldOf, hasField, textField } from './records.js'
import { fromShareGpt, textOfParts } from './sharegpt.js'

/** A form in which a record can hold a text to learn, recognised by its fields. */
interface TextForm {
  name: string
  needs: readonly string[]
  /** `template` is the model's own, for forms that are conversations */
  read: (record: DataRecord, columns: Columns, template: ChatTemplate | undefined) => MarkedText
  /** whether the text is a conversation, whose first and last tokens come from the template */
  templated?: boolean
  fits?: (record: DataRecord, columns: Columns) => boolean
}

const completed = (prompt: string, completion: string): MarkedText => ({
  text: prompt + completion,
  spans: [[prompt.length, prompt.length + completion.length]],
})
const optionalText = (record: DataRecord, columns: Columns, name: string): string =>
  hasField(record, columns, name) ? textField(record, columns, name) : ''

/** A list of turns under a field. Throws BAD_CONVERSATION. */
function turnsOf(record: DataRecord, columns: Columns, name: string, fields: readonly string[]): object[] {
  const turns = fieldOf(record, columns, name)
  const isTurn = (t: unknown) =>
    typeof t === 'object' && t !== null && fields.every((f) => typeof (t as Message)[f] === 'string')
  if (Array.isArray(turns) && turns.length > 0 && turns.every(isTurn)) return turns
  throw new GraftError(
    'BAD_CONVERSATION',
    `${record.where}: field ${columns[name] ?? name} should be a list of objects with ${fields.join(' and ')}, got ${JSON.stringify(turns, (_, v) => (typeof v === 'bigint' ? String(v) : v))?.slice(0, 80)}.`,
  )
}

/** The record's tools: a list of schemas, or one written as JSON in a text. Throws BAD_CONVERSATION. */
function toolsOf(record: DataRecord, columns: Columns): readonly unknown[] | undefined {
  if (!hasField(record, columns, 'tools')) return undefined
  const given = fieldOf(record, columns, 'tools')
  let tools: unknown
  try {
    tools = typeof given === 'string' ? (given.trim() === '' ? [] : parseJson(given)) : given
  } catch {
    tools = given
  }
  if (!Array.isArray(tools))
    throw new GraftError(
      'BAD_CONVERSATION',
      `${record.where}: tools should be a list of schemas, or JSON of one.`,
    )
  return tools.length > 0 ? tools : undefined
}

/** A conversation through the template, with the record's own system message and tools. Throws NO_CHAT_TEMPLATE. */
function conversation(
  record: DataRecord,
  columns: Columns,
  given: readonly Message[],
  template: ChatTemplate | undefined,
): MarkedText {
  if (!template)
    throw new GraftError(
      'NO_CHAT_TEMPLATE',
      `${record.where}: a conversation needs the model's chat template, and it has none (chat_template.jinja, or chat_template in tokenizer_config.json). Choose a chat model, add its template, or use prompt and completion.`,
    )
  checkMessages(given, record.where)
  const system = optionalText(record, columns, 'system')
  if (system !== '' && given[0]?.role === 'system')
    throw new GraftError(
      'BAD_CONVERSATION',
      `${record.where}: the conversation begins with a system message, and the record has another in field system. Keep one.`,
    )
  const messages = system === '' ? given : [{ role: 'system', content: system }, ...given]
  const tools = toolsOf(record, columns)
  const whole: Conversation = tools ? { messages, tools } : { messages }
  try {
    return marked(textOfParts(whole, template), template)
  } catch (error) {
    if (!(error instanceof GraftError)) throw error
    throw new GraftError(error.code, `${record.where}: ${error.message}`, { cause: error })
  }
}

const speakers = ['system', 'developer', 'user', 'assistant', 'tool', 'function', 'ipython']
/**
 * A message says something, or calls a tool; a role that nearly names a usual one is a slip, which would leave it
 * unlearnt.
 */
function checkMessages(messages: readonly Message[], where: string): void {
  messages.forEach(({ role, content, tool_calls }, i) => {
    const meant = speakers.includes(role) ? undefined : nearest(role, speakers)
    if (meant)
      throw new GraftError(
        'BAD_CONVERSATION',
        `${where}: the role of message ${i + 1} is ${shown(role)}. Did you mean ${meant}?`,
      )
    const says = typeof content === 'string' || Array.isArray(content)
    if (!says && (content ?? null) !== null)
      throw new GraftError(
        'BAD_CONVERSATION',
        `${where}: content of message ${i + 1} should be a text or a list of parts.`,
      )
    if (!says && !Array.isArray(tool_calls))
      throw new GraftError(
        'BAD_CONVERSATION',
        `${where}: message ${i + 1} has neither content nor tool_calls.`,
      )
  })
}

const unwritten = 'lists of tools, which the chat template does not write'
function marked(whole: Conversation, template: ChatTemplate): MarkedText {
  const result = template.mark(whole)
  if (!whole.tools || template.render({ messages: whole.messages }) !== result.text) return result
  return { ...result, left: { ...result.left, [unwritten]: 1 } }
}

/** An instruction as a conversation: with the turns that went before it, each a pair of a question and an answer. */
function instructed(record: DataRecord, columns: Columns): Message[] {
  const history = hasField(record, columns, 'history') ? fieldOf(record, columns, 'history') : []
  const isPair = (p: unknown) => Array.isArray(p) && p.length === 2 && p.every((t) => typeof t === 'string')
  if (!Array.isArray(history) || !history.every(isPair))
    throw new GraftError(
      'BAD_CONVERSATION',
      `${record.where}: history should be a list of [question, answer].`,
    )
  const input = optionalText(record, columns, 'input')
  const question = textField(record, columns, 'instruction') + (input === '' ? '' : `\n${input}`)
  return [...history, [question, textField(record, columns, 'output')]].flatMap(([user, assistant]) => [
    { role: 'user', content: user },
    { role: 'assistant', content: assistant },
  ])
}
const filled = (record: DataRecord, columns: Columns, name: string): boolean => {
  const value = hasField(record, columns, name) ? record.fields[columns[name] ?? name] : ''
  return Array.isArray(value) ? value.length > 0 : value !== ''
}

/** Prompt and completion that are lists of messages (TRL): the completion's alone are learnt. */
function conversational(record: DataRecord, columns: Columns): Message[] {
  const [prompt, completion] = ['prompt', 'completion'].map(
    (name) => turnsOf(record, columns, name, ['role']) as Message[],
  )
  return [...prompt.map((m) => (m.role === 'assistant' ? { ...m, weight: 0 } : m)), ...completion]
}
const isList = ({ fields }: DataRecord, columns: Columns, name: string): boolean =>
  Array.isArray(fields[columns[name] ?? name])

/** Fields that the forms below read. */
export const textFields: readonly string[] = [
  ...['messages', 'conversations', 'tools', 'system', 'history'],
  ...['instruction', 'input', 'output', 'prompt', 'completion', 'text'],
]

/** Forms for language modelling; the first whose fields are there is taken. */
const forms: readonly TextForm[] = [
  {
    name: 'messages',
    needs: ['messages'],
    templated: true,
    read: (r, c, t) => conversation(r, c, turnsOf(r, c, 'messages', ['role']) as Message[], t),
  },
  {
    name: 'sharegpt',
    needs: ['conversations'],
    templated: true,
    read: (r, c, t) => conversation(r, c, fromShareGpt(turnsOf(r, c, 'conversations', []), r.where), t),
  },
  {
    name: 'alpaca with system or history',
    needs: ['instruction', 'output'],
    fits: (r, c) => filled(r, c, 'system') || filled(r, c, 'history'),
    templated: true,
    read: (r, c, t) => conversation(r, c, instructed(r, c), t),
  },
  {
    name: 'alpaca',
    needs: ['instruction', 'output'],
    read: (r, c) => {
      // Empty here, as another form would have been taken otherwise.
      for (const name of ['system', 'history']) fieldOf(r, c, name)
      return completed(
        alpacaPrompt(textField(r, c, 'instruction'), optionalText(r, c, 'input')),
        textField(r, c, 'output'),
      )
    },
  },
  {
    name: 'prompt-completion of messages',
    needs: ['prompt', 'completion'],
    fits: (r, c) => isList(r, c, 'prompt') && isList(r, c, 'completion'),
    templated: true,
    read: (r, c, t) => conversation(r, c, conversational(r, c), t),
  },
  {
    name: 'prompt-completion',
    needs: ['prompt', 'completion'],
    read: (r, c) => completed(textField(r, c, 'prompt'), textField(r, c, 'completion')),
  },
  { name: 'text', needs: ['text'], read: (r, c) => completed('', textField(r, c, 'text')) },
]

/** The form of a record. Throws UNKNOWN_FORMAT listing the forms and the record's fields. */
export function textForm(record: DataRecord, columns: Columns): TextForm {
  const form = forms.find(
    (f) => f.needs.every((name) => hasField(record, columns, name)) && (f.fits?.(record, columns) ?? true),
  )
  if (form) return form
  const known = forms.map((f) => `${f.name} (${f.needs.join(', ')})`).join('; ')
  throw new GraftError(
    'UNKNOWN_FORMAT',
    `${record.where}: fields ${Object.keys(record.fields).join(', ')} fit no format: ${known}. Map columns with data.columns.`,
  )
}

/** Prompt and completion apart, for models that read one and write the other. Throws UNKNOWN_FORMAT, or NOT_A_PAIR for a text that is not one. */
export function promptAndCompletion(
  record: DataRecord,
  columns: Columns,
  template: () => ChatTemplate | undefined,
): { prompt: string; completion: string } {
  const form = textForm(record, columns)
  const { text, spans } = form.read(record, columns, form.templated ? template() : undefined)
  const last = spans.at(-1)
  if (!last || last[0] === 0)
    throw new GraftError(
      'NOT_A_PAIR',
      `${record.where}: sequence-to-sequence needs an input and an output, such as prompt and completion.`,
    )
  return { prompt: text.slice(0, last[0]), completion: text.slice(last[0], last[1]) }
}
