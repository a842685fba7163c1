import { GraftError } from '../errors.js'

/** What is read of a tokenizer.json. */
export type TokenizerFile = Record<string, unknown>

/** The token ids of a tokenizer.json, by token. */
export function vocabulary({ model, added_tokens }: TokenizerFile): Map<string, number> {
  const { vocab = {} } = (model ?? {}) as { vocab?: Record<string, number> | [string, number][] }
  const own = Array.isArray(vocab) ? vocab.map(([token], id) => [token, id] as const) : Object.entries(vocab)
  const added = ((added_tokens ?? []) as { id: number; content: string }[]).map(
    ({ id, content }) => [content, id] as const,
  )
  return new Map([...own, ...added])
}
/** The id after all of its. */
export const nextId = (file: TokenizerFile): number =>
  [...vocabulary(file).values()].reduce((greatest, id) => Math.max(greatest, id), -1) + 1

/**
 * A tokenizer.json with tokens added after all others, as transformers' add_tokens.
 * @throws KNOWN_TOKEN.
 */
export function withTokens(file: TokenizerFile, tokens: readonly string[], path: string): TokenizerFile {
  if (tokens.length === 0) return file
  const known = vocabulary(file)
  const twin = tokens.find((token) => known.has(token))
  if (twin !== undefined)
    throw new GraftError(
      'KNOWN_TOKEN',
      `tokens: ${JSON.stringify(twin)} is in the model's vocabulary already, as token ${known.get(twin)} of ${path}. Leave it out; the model knows it.`,
    )
  const first = nextId(file)
  const added = tokens.map((content, i) => ({
    id: first + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: true,
    special: false,
  }))
  return { ...file, added_tokens: [...((file.added_tokens ?? []) as unknown[]), ...added] }
}
