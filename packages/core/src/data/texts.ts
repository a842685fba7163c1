import { GraftError } from '../errors.js'
import type { ChatTemplate, MarkedText, Message } from './chat-template.js'
import { type Columns, type DataRecord, fieldOf, hasField, textField } from './records.js'

/** A form in which a record can hold a text to learn, recognised by its fields. */
interface TextForm {
  name: string
  needs: readonly string[]
  /** `template` is the model's own, for forms that are conversations */
  read: (record: DataRecord, columns: Columns, template: ChatTemplate | undefined) => MarkedText
  /** whether tokens of the text's beginning and end come from the template */
  templated?: boolean
}

/** Stanford Alpaca's two prompts (tatsu-lab/stanford_alpaca, Apache-2.0), which Alpaca-style models expect word for word. */
const alpaca = (instruction: string, input: string): string =>
  input
    ? `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`
    : `Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`

const completed = (prompt: string, completion: string): MarkedText => ({
  text: prompt + completion,
  spans: [[prompt.length, prompt.length + completion.length]],
})
const optionalText = (record: DataRecord, columns: Columns, name: string): string =>
  hasField(record, columns, name) ? textField(record, columns, name) : ''

/** ShareGPT's names of who speaks. */
const roles: Readonly<Record<string, string>> = {
  human: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  model: 'assistant',
}

function conversation(
  record: DataRecord,
  columns: Columns,
  name: string,
  [role, content]: readonly [string, string],
  template: ChatTemplate | undefined,
): MarkedText {
  const turns = fieldOf(record, columns, name)
  const messages = Array.isArray(turns) ? turns.map((t) => ({ role: t?.[role], content: t?.[content] })) : []
  if (
    messages.length === 0 ||
    !messages.every((m): m is Message => typeof m.role === 'string' && typeof m.content === 'string')
  )
    throw new GraftError(
      'BAD_CONVERSATION',
      `${record.where}: field ${name} should be a list of objects with ${role} and ${content}, got ${JSON.stringify(turns)?.slice(0, 80)}.`,
    )
  if (!template)
    throw new GraftError(
      'NO_CHAT_TEMPLATE',
      `${record.where}: a conversation needs the model's chat template, and it has none (chat_template.jinja, or chat_template in tokenizer_config.json). Choose a chat model, add its template, or use prompt and completion.`,
    )
  return template.mark(messages.map((m) => ({ role: roles[m.role] ?? m.role, content: m.content })))
}

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
    read: (r, c, t) => conversation(r, c, 'messages', ['role', 'content'], t),
  },
  {
    name: 'sharegpt',
    needs: ['conversations'],
    templated: true,
    read: (r, c, t) => conversation(r, c, 'conversations', ['from', 'value'], t),
  },
  {
    name: 'alpaca',
    needs: ['instruction', 'output'],
    read: (r, c) =>
      completed(
        alpaca(textField(r, c, 'instruction'), optionalText(r, c, 'input')),
        textField(r, c, 'output'),
      ),
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
  const form = forms.find((f) => f.needs.every((name) => hasField(record, columns, name)))
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
  template: ChatTemplate | undefined,
): { prompt: string; completion: string } {
  const { text, spans } = textForm(record, columns).read(record, columns, template)
  const last = spans.at(-1)
  if (!last || last[0] === 0)
    throw new GraftError(
      'NOT_A_PAIR',
      `${record.where}: sequence-to-sequence needs an input and an output, such as prompt and completion.`,
    )
  return { prompt: text.slice(0, last[0]), completion: text.slice(last[0], last[1]) }
}
