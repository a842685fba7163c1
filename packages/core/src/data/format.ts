import { GraftError } from '../errors.js'
import { type DataRecord, hasField, textField } from './records.js'

export type Columns = Readonly<Record<string, string>>
/** A text to learn: the prompt is given, the completion is what the loss is taken on. */
export interface PromptCompletion {
  prompt: string
  completion: string
}
interface TextFormat {
  name: string
  needs: readonly string[]
  read: (record: DataRecord, columns: Columns) => PromptCompletion
}

/** Stanford Alpaca's two prompts (tatsu-lab/stanford_alpaca, Apache-2.0), which Alpaca-style models expect word for word. */
const alpaca = (instruction: string, input: string): string =>
  input
    ? `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`
    : `Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`

/** Formats for language modelling, recognised by their fields; the first that fits is taken. */
const formats: readonly TextFormat[] = [
  {
    name: 'alpaca',
    needs: ['instruction', 'output'],
    read: (r, c) => ({ prompt: alpaca(textField(r, c, 'instruction'), hasField(r, c, 'input') ? textField(r, c, 'input') : ''), completion: textField(r, c, 'output') }),
  },
  { name: 'prompt-completion', needs: ['prompt', 'completion'], read: (r, c) => ({ prompt: textField(r, c, 'prompt'), completion: textField(r, c, 'completion') }) },
  { name: 'text', needs: ['text'], read: (r, c) => ({ prompt: '', completion: textField(r, c, 'text') }) },
]

/** Reads a record for language modelling. Throws UNKNOWN_FORMAT listing the formats and the record's fields. */
export function promptCompletion(record: DataRecord, columns: Columns): PromptCompletion {
  const format = formats.find((f) => f.needs.every((name) => hasField(record, columns, name)))
  if (format) return format.read(record, columns)
  const known = formats.map((f) => `${f.name} (${f.needs.join(', ')})`).join('; ')
  throw new GraftError('UNKNOWN_FORMAT', `${record.where}: fields ${Object.keys(record.fields).join(', ')} fit no format: ${known}. Map columns with data.columns.`)
}
