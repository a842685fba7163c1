import {
  copyOf,
  definePeftMethod,
  embeddingWidth,
  GraftError,
  type Initialiser,
  type Model,
  normal,
  overwriteEmbeddings,
  type PromptOptions,
  promptKey,
  promptRecord,
  promptSchema,
} from '@graft-peft/core'

interface PromptTuningOptions extends PromptOptions {
  prompt_tuning_init: 'RANDOM' | 'SAMPLE_VOCAB' | 'TEXT'
  prompt_tuning_init_text: string | null
}

/** Learned embeddings in front of every text (Lester et al., 2021, arXiv 2104.08691); options as HF PEFT's PromptTuningConfig. */
export default definePeftMethod<PromptTuningOptions>({
  name: 'prompt-tuning',
  apiVersion: 1,
  peftType: 'PROMPT_TUNING',
  summary: 'learned embeddings in front of every text',
  paper: 'https://arxiv.org/abs/2104.08691',
  learningRate: 1e-2,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    prompt_tuning_init: { enum: ['RANDOM', 'SAMPLE_VOCAB', 'TEXT'], default: 'SAMPLE_VOCAB' },
    prompt_tuning_init_text: { type: ['string', 'null'], default: null },
    tokenizer_name_or_path: { type: ['string', 'null'], default: null },
    tokenizer_kwargs: { type: ['object', 'null'], default: null },
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: true }),
  async prepare({ tokenize }, { prompt_tuning_init, prompt_tuning_init_text: text }) {
    if (prompt_tuning_init !== 'TEXT') return undefined
    const ids = text ? tokenize(text) : []
    if (ids.length === 0)
      throw new GraftError(
        'NO_INIT_TEXT',
        'prompt_tuning_init: TEXT starts from a text: give prompt_tuning_init_text, a sentence that says what the task is.',
      )
    return ids
  },
  attach({ model, param, prepared }, options) {
    const shape = [options.num_virtual_tokens, embeddingWidth(model)]
    const prompt = param('prompt_encoder.embedding.weight', {
      shape,
      init: initialiser(model, options, prepared as number[] | undefined),
      key: promptKey,
    })
    const record = promptRecord(model)
    overwriteEmbeddings(model, prompt)
    return { save: () => ({ finish: () => record }) }
  },
})

/** Standard normal, rows of the embedding drawn at random, or the rows of a text, repeated until there are enough. */
function initialiser(
  model: Model,
  { prompt_tuning_init }: PromptTuningOptions,
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
