import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError } from '../errors.js'
import { readObject } from '../files/json.js'
import type { Model } from '../model/model.js'
import { withTokens } from './tokenizer-file.js'
import { ChatTemplate, contentOf } from './chat-template.js'
import { type Encoded, NativeTokenizer, type Placed, type ToEncode } from './native-tokenizer.js'

/** The tokenizer of a model, with the tokens that were added to it. Throws NO_TOKENIZER or BAD_TOKENIZER. */
export const tokenizerOf = ({ folder, config, addedTokens }: Model): Tokenizer =>
  Tokenizer.open(folder, config, addedTokens)

interface PreTokenizer {
  type?: string
  add_prefix_space?: boolean
  pretokenizers?: readonly PreTokenizer[]
}

/** A model's own tokenizer, with the special tokens that training needs. */
export class Tokenizer {
  private opened: ChatTemplate | null | undefined

  private constructor(
    private readonly hf: NativeTokenizer,
    private readonly path: string,
    readonly folder: string,
    readonly pad: number,
    /** end of sequence, where the model has one */
    readonly end: number | undefined,
    /** tokens that end what a model writes: of the config, of generation_config.json */
    readonly ends: ReadonlySet<number>,
    private readonly settings: Record<string, unknown>,
    private readonly units: readonly string[],
    private readonly file: Record<string, unknown>,
  ) {}

  /** Reads tokenizer.json and tokenizer_config.json from a model's folder; `added`: further tokens. Throws NO_TOKENIZER or BAD_TOKENIZER. */
  static open(folder: string, config: Record<string, unknown>, added: readonly string[] = []): Tokenizer {
    const path = join(folder, 'tokenizer.json')
    if (!existsSync(path))
      throw new GraftError(
        'NO_TOKENIZER',
        `${folder}: tokenizer.json is missing. Copy it from the model's repository.`,
      )
    const settings = withSpecialTokens(folder, optional(join(folder, 'tokenizer_config.json')))
    const generation = optional(join(folder, 'generation_config.json'))
    try {
      const file = withTokens(json(path), added, path)
      const units = ((file.added_tokens ?? []) as unknown[]).map(contentOf).filter((t) => !!t) as string[]
      checkGrowth(file.normalizer as Normalizer | null | undefined)
      const hf = NativeTokenizer.open(JSON.stringify(file))
      const id = (token: unknown) =>
        contentOf(token) === undefined ? undefined : hf.idOf(contentOf(token) as string)
      const ends = [config.eos_token_id, generation.eos_token_id, id(settings.eos_token)]
        .flat()
        .filter((e) => typeof e === 'number')
      const pad = config.pad_token_id ?? id(settings.pad_token) ?? ends[0] ?? 0
      return new Tokenizer(hf, path, folder, Number(pad), ends[0], new Set(ends), settings, units, file)
    } catch (cause) {
      if (cause instanceof GraftError && cause.message.startsWith(path)) throw cause
      throw new GraftError('BAD_TOKENIZER', `${path}: can't be used (${(cause as Error).message}).`, {
        cause,
      })
    }
  }

  /** Token ids of a text; with the model's own special tokens around it unless told otherwise. */
  encode(text: string, special = true): number[] {
    return this.encoded({ text, special }).ids
  }
  /** Tokens with where they stand. Throws BAD_TOKENIZER, as for a word that a closed vocabulary doesn't have. */
  encoded(what: ToEncode & { places: true }): Placed
  encoded(what: ToEncode): Encoded
  encoded(what: ToEncode): Encoded {
    try {
      return this.hf.encode(what)
    } catch (cause) {
      const shown = JSON.stringify(what.text).slice(0, 60)
      throw new GraftError(
        'BAD_TOKENIZER',
        `${this.path}: ${(cause as Error).message} It was given ${shown}.`,
        { cause },
      )
    }
  }
  /** Whether words are joined by blanks that belong to the tokens, as byte-level vocabularies without a prefix blank have it. */
  get joinsWords(): boolean {
    const { type, add_prefix_space, pretokenizers = [] } = (this.file.pre_tokenizer ?? {}) as PreTokenizer
    const own = [{ type, add_prefix_space }, ...pretokenizers].find((p) => p.type === 'ByteLevel')
    return own?.add_prefix_space === false
  }
  /** The special tokens that go before and after a text. */
  get around(): { before: number[]; after: number[] } {
    const [whole, bare] = [this.encode('a'), this.encode('a', false)]
    const start = whole.findIndex((_, i) => bare.every((id, j) => whole[i + j] === id))
    return start < 0
      ? { before: [], after: [] }
      : { before: whole.slice(0, start), after: whole.slice(start + bare.length) }
  }
  decode(ids: readonly number[], skipSpecial = true): string {
    return this.hf.decode(ids, skipSpecial)
  }
  idOf(token: string): number | undefined {
    return this.hf.idOf(token)
  }

  /**
   * The model's template for conversations, or undefined where it has none.
   * @throws BAD_CHAT_TEMPLATE.
   */
  get template(): ChatTemplate | undefined {
    if (this.opened === undefined) {
      const tokens = Object.entries(this.settings).flatMap(([key, v]) =>
        key.endsWith('_token') && contentOf(v) !== undefined ? [[key, contentOf(v) as string] as const] : [],
      )
      this.opened =
        ChatTemplate.open(this.folder, this.settings, Object.fromEntries(tokens), this.units) ?? null
    }
    return this.opened ?? undefined
  }
}

interface Normalizer {
  type?: string
  pattern?: { String?: string; Regex?: string }
  content?: string
  normalizers?: readonly Normalizer[]
}
/** How many times as long a normaliser may make a text at most. */
const growth = ({ type, pattern, content = '', normalizers = [] }: Normalizer): number =>
  type === 'Replace'
    ? Math.max(1, content.length / (pattern?.String?.length || 1))
    : normalizers.reduce((product, n) => product * growth(n), 1)
/**
 * Replacements that double a text again and again would take all memory.
 * @throws BAD_TOKENIZER.
 */
function checkGrowth(normalizer: Normalizer | null | undefined): void {
  if (normalizer && growth(normalizer) > 1000)
    throw new GraftError('BAD_TOKENIZER', 'its normalizer can make a text more than 1000 times as long.')
}

/** Special tokens stand in tokenizer_config.json; as older repositories have it, in special_tokens_map.json, which then goes first. */
function withSpecialTokens(folder: string, settings: Record<string, unknown>): Record<string, unknown> {
  if (settings.added_tokens_decoder !== undefined) return settings
  return { ...settings, ...optional(join(folder, 'special_tokens_map.json')) }
}

const optional = (path: string): Record<string, unknown> => (existsSync(path) ? json(path) : {})

const json = (path: string): Record<string, unknown> => readObject(path, 'BAD_TOKENIZER')
