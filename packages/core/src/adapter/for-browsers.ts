import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { readObject } from '../files/json.js'
import { withKeys } from '../files/json-text.js'

/** What transformers.js reads of config.json: which of its types of weights there are, and how many files lie beside a graph. */
export const browserSettings = (file: string, outside: readonly string[]): Record<string, unknown> => ({
  'transformers.js_config': {
    dtype: 'fp32',
    ...(outside.length > 0 ? { use_external_data_format: { [basename(file)]: outside.length } } : {}),
  },
})

/**
 * Has tokenizer_config.json say that a prompt begins with a special token where tokenizer.json puts one there: transformers.js's text
 * generation leaves it out otherwise.
 */
export function sayFirstToken(folder: string): void {
  const [tokenizer, config] = ['tokenizer.json', 'tokenizer_config.json'].map((name) => join(folder, name))
  if (!existsSync(tokenizer)) return
  const { post_processor } = readObject(tokenizer, 'BAD_TOKENIZER')
  if (!opensWithToken(post_processor as Processor | null)) return
  const own = existsSync(config) ? readFileSync(config, 'utf8') : '{}\n'
  writeAtomically(config, withKeys(own, { add_bos_token: true }))
}

interface Processor {
  type?: string
  single?: readonly object[]
  processors?: readonly Processor[]
}
function opensWithToken(processor: Processor | null | undefined): boolean {
  const { single, processors } = processor ?? {}
  return !!processors?.some(opensWithToken) || (Array.isArray(single) && 'SpecialToken' in (single[0] ?? {}))
}
