import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readModelConfig } from '../architecture/open.js'
import { GraftError } from '../errors.js'
import { readObject } from '../files/json.js'
import { contentOf } from './chat-template.js'
import { Tokenizer } from './tokenizer.js'
import { nextId, vocabulary, withTokens } from './tokenizer-file.js'

/** What a model is opened with to have further tokens: their ids, and the rows that its tables then have. */
export interface Growth {
  tokens: readonly string[]
  ids: number[]
  /** rows, where the model's own do not suffice */
  vocabulary: number | undefined
}
/** Throws NO_CHECKPOINT_BASE for a model that isn't a folder with config.json and tokenizer.json, and KNOWN_TOKEN. */
export function growth(folder: string, tokens: readonly string[]): Growth {
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path) || !existsSync(join(folder, 'config.json')))
    throw new GraftError(
      'NO_CHECKPOINT_BASE',
      `tokens: ${folder} is no Hugging Face folder with config.json and tokenizer.json; only such a model can get rows for new tokens. Give the folder that the ONNX file was made from.`,
    )
  const file = readObject(path, 'BAD_TOKENIZER')
  withTokens(file, tokens, path)
  const first = nextId(file)
  const rows = first + tokens.length
  const own = Number(readModelConfig(folder).vocab_size)
  return { tokens, ids: tokens.map((_, i) => first + i), vocabulary: rows > own ? rows : undefined }
}

/** The tokens that an adapter's own tokenizer.json has beyond its base's, in the order of their ids. */
export function tokensBeyond(adapter: string, base: string): string[] {
  const [path, other] = [adapter, base].map((folder) => join(folder, 'tokenizer.json'))
  if (!existsSync(path) || !existsSync(other)) return []
  const file = readObject(path, 'BAD_TOKENIZER')
  const [own, known] = [file, readObject(other, 'BAD_TOKENIZER')].map(vocabulary)
  const added = ((file.added_tokens ?? []) as unknown[]).map(contentOf).filter((token) => token !== undefined)
  return added.filter((token) => !known.has(token)).sort((a, b) => Number(own.get(a)) - Number(own.get(b)))
}

/**
 * Refuses words that the model reads as one token: as new ones they would also be cut out of longer words.
 * @throws KNOWN_TOKEN.
 */
export function refuseKnown(folder: string, tokens: readonly string[]): void {
  const tokenizer = Tokenizer.open(folder, readModelConfig(folder))
  for (const token of tokens)
    for (const text of [token, ` ${token}`]) {
      const ids = tokenizer.encode(text, false)
      if (ids.length === 1 && tokenizer.decode(ids, false).trim() === token.trim())
        throw new GraftError(
          'KNOWN_TOKEN',
          `tokens: ${JSON.stringify(token)} is in the vocabulary already: ${folder} reads ${JSON.stringify(text)} as the one token ${ids[0]}. Leave it out; trainable_token_indices: [${ids[0]}] trains its row.`,
        )
    }
}
