import {
  copyOf,
  GraftError,
  type Initialiser,
  type Model,
  normal,
  type PrepareContext,
  type PromptOptions,
} from '@graft-peft/core'

/** What prompts start from. */
export interface StartOptions extends PromptOptions {
  prompt_tuning_init: 'RANDOM' | 'SAMPLE_VOCAB' | 'TEXT'
  prompt_tuning_init_text: string | null
  tokenizer_name_or_path: string | null
}
export const textOptions = {
  prompt_tuning_init_text: { type: ['string', 'null'], default: null },
  tokenizer_name_or_path: { type: ['string', 'null'], default: null },
  tokenizer_kwargs: { type: ['object', 'null'], default: null },
} as const

/** The tokens of the text that TEXT starts from. Throws NO_INIT_TEXT. */
export async function initTokens(
  { tokenize }: PrepareContext,
  { prompt_tuning_init, prompt_tuning_init_text: text }: StartOptions,
): Promise<number[] | undefined> {
  if (prompt_tuning_init !== 'TEXT') return undefined
  const ids = text ? tokenize(text) : []
  if (ids.length === 0)
    throw new GraftError(
      'NO_INIT_TEXT',
      'prompt_tuning_init: TEXT starts from a text: give prompt_tuning_init_text, a sentence that says what the task is.',
    )
  return ids
}

/** Standard normal, rows of the embedding drawn at random, or the rows of a text, repeated until there are enough. */
export function initialiser(
  model: Model,
  { prompt_tuning_init }: StartOptions,
  text: readonly number[] | undefined,
): Initialiser {
  const table = model.tokenEmbedding
  if (prompt_tuning_init === 'RANDOM' || !table) return normal(1)
  return (shape, random) => {
    const rows = copyOf(table.weight)([table.rows, table.width], random)
    const ids = Array.from({ length: shape[0] }, (_, i) =>
      text ? text[i % text.length] : random.below(table.rows),
    )
    return Float32Array.from(
      ids.flatMap((id) => [...rows.subarray(id * table.width, (id + 1) * table.width)]),
    )
  }
}

/** HF PEFT's config of a prompt that starts from a text must say whose tokenizer reads it. */
export const tokenizerRecord = (
  model: Model,
  { prompt_tuning_init, tokenizer_name_or_path }: StartOptions,
): Record<string, string> =>
  prompt_tuning_init === 'TEXT' ? { tokenizer_name_or_path: tokenizer_name_or_path ?? model.folder } : {}
