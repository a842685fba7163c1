import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers'
import { GraftError } from '../errors.js'

/** A model's own tokenizer, with the special tokens that training needs. */
export class Tokenizer {
  private constructor(
    private readonly hf: HfTokenizer,
    readonly pad: number,
    /** end of sequence, where the model has one */
    readonly end: number | undefined,
  ) {}

  /** Reads tokenizer.json and tokenizer_config.json from a model's folder. Throws NO_TOKENIZER or BAD_TOKENIZER. */
  static open(folder: string, config: Record<string, unknown>): Tokenizer {
    const path = join(folder, 'tokenizer.json')
    if (!existsSync(path)) throw new GraftError('NO_TOKENIZER', `${folder}: tokenizer.json is missing. Copy it from the model's repository.`)
    const settings = existsSync(join(folder, 'tokenizer_config.json')) ? json(join(folder, 'tokenizer_config.json')) : {}
    try {
      const hf = new HfTokenizer(json(path), settings)
      const id = (token: unknown) => (typeof token === 'string' ? hf.encode(token, { add_special_tokens: false }).ids[0] : undefined)
      const end = [config.eos_token_id].flat()[0] ?? id(settings.eos_token)
      const pad = config.pad_token_id ?? id(settings.pad_token) ?? end ?? 0
      return new Tokenizer(hf, Number(pad), typeof end === 'number' ? end : undefined)
    } catch (cause) {
      if (cause instanceof GraftError) throw cause
      throw new GraftError('BAD_TOKENIZER', `${path}: can't be used (${(cause as Error).message}).`, { cause })
    }
  }

  /** Token ids of a text; with the model's own special tokens around it unless told otherwise. */
  encode(text: string, special = true): number[] {
    return this.hf.encode(text, { add_special_tokens: special }).ids
  }
  decode(ids: readonly number[]): string {
    return this.hf.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false })
  }
}

function json(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new GraftError('BAD_TOKENIZER', `${path}: not JSON (${(cause as Error).message}).`, { cause })
  }
}
