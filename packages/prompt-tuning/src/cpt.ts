import {
  copyOf,
  definePeftMethod,
  dropEncoder,
  embeddingWidth,
  GraftError,
  type Initialiser,
  type Model,
  oneOf,
  overwriteEmbeddings,
  promptKey,
  type PromptOptions,
  promptRecord,
  promptSchema,
  real,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface CptOptions extends PromptOptions {
  cpt_token_ids: number[] | null
  cpt_tokens_type_mask: number[] | null
  opt_projection_epsilon: number
  opt_projection_format_epsilon: number
}
const list = {
  anyOf: [{ type: 'array', items: { type: 'integer', minimum: 0 } }, { type: 'null' }],
  default: null,
} as const

/** Examples in front of every text, whose embeddings may move a little: in-context learning, tuned (Tsachi Blau et al., 2024,
 *  arXiv 2410.17222); options as HF PEFT's CPTConfig. */
export default definePeftMethod<CptOptions>({
  name: 'cpt',
  apiVersion: 1,
  peftType: 'CPT',
  family: 'prompts',
  summary: 'examples in front of every text, their embeddings tuned',
  paper: 'https://arxiv.org/abs/2410.17222',
  learningRate: 1e-3,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    num_virtual_tokens: { type: ['integer', 'null'], default: null },
    cpt_token_ids: list,
    cpt_mask: list,
    cpt_tokens_type_mask: list,
    // Weights that fall from example to example are not built.
    opt_weighted_loss_type: oneOf(['none'], 'none'),
    opt_loss_decay_factor: real(1),
    opt_projection_epsilon: real(0.1),
    opt_projection_format_epsilon: real(0.1),
    tokenizer_name_or_path: { type: ['string', 'null'], default: null },
  }),
  virtualTokens: (options) => {
    const { ids, types } = contextOf(options)
    // Answers of the examples are learnt too.
    const labels = ids.map((id, i) => (types[i] > 0 && types[i] % 4 === 0 ? id : -100))
    return { count: ids.length, predictive: true, labels }
  },
  attach({ model, g, param, buffer, inference }, options) {
    const { ids, types } = contextOf(options)
    const width = embeddingWidth(model)
    const record = { ...promptRecord(model), num_virtual_tokens: ids.length }
    const [shape, init] = [[ids.length, width], rowsOf(model, ids)]
    if (inference) {
      overwriteEmbeddings(model, param('prompt_encoder.embedding.weight', { shape, init, key: promptKey }))
      return { save: () => ({ finish: () => record }) }
    }
    const rows = buffer('prompt_encoder.embedding.weight', {
      shape,
      init,
      stored: 'F32',
      replaced: true,
      key: promptKey,
    })
    const delta = param('prompt_encoder.delta_embedding.weight', { shape, init: zeros })
    const moving = g.constant(
      'float32',
      types.map((t) => Number(t % 4 !== 0)),
      [ids.length, 1],
    )
    const still = g.stopGradient(delta)
    const prompt = g.add(rows, g.add(still, g.mul(moving, g.sub(delta, still))))
    const limits = g.constant(
      'float32',
      types.map((t) => limitOf(t, width, options)),
      [ids.length, 1],
    )
    /** Back into a ball, each row into its own. */
    const projected = (d: Value) => {
      const size = g.sqrt(g.reduceSum(g.square(d), [1]))
      return g.mul(d, g.div(limits, g.op('Max', [size, limits])))
    }
    overwriteEmbeddings(model, prompt)
    return {
      afterStep: {
        scalars: () => [],
        update: ({ updated }) => new Map([[delta, projected(updated(delta))]]),
      },
      save: () => ({
        tensors: { [promptKey]: prompt },
        finish: (tensors) => {
          dropEncoder(tensors)
          return record
        },
      }),
    }
  },
})

/** The tokens and what each is: 1 and 3 format, 2 input, 0 and 4 an answer, modulo 4. Throws BAD_METHOD_OPTION where they don't match. */
function contextOf({ cpt_token_ids, cpt_tokens_type_mask }: CptOptions): { ids: number[]; types: number[] } {
  const ids = cpt_token_ids ?? [0]
  const types = cpt_tokens_type_mask ?? ids.map(() => 1)
  if (ids.length > 0 && types.length === ids.length) return { ids, types }
  throw new GraftError(
    'BAD_METHOD_OPTION',
    `method cpt: cpt_tokens_type_mask has ${types.length} entries for ${ids.length} tokens of cpt_token_ids; each token needs one.`,
  )
}

/** How far a token's embedding may move, for a width of 2048 as the options say. */
function limitOf(type: number, width: number, options: CptOptions): number {
  const scale = Math.sqrt(width / 2048)
  if (type % 4 === 0) return 1e-10
  return scale * (type % 4 === 2 ? options.opt_projection_epsilon : options.opt_projection_format_epsilon)
}

/** Rows of the embedding. Throws BAD_METHOD_OPTION for a token it has none for. */
function rowsOf({ tokenEmbedding, file }: Model, ids: readonly number[]): Initialiser {
  if (!tokenEmbedding) return zeros
  const { rows, width, weight } = tokenEmbedding
  const outside = ids.find((id) => id >= rows)
  if (outside !== undefined)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method cpt: ${file} has ${rows} tokens, and no token ${outside}.`,
    )
  const read = copyOf(weight)
  return (_, random) => {
    const table = read([rows, width], random)
    return Float32Array.from(ids.flatMap((id) => [...table.subarray(id * width, (id + 1) * width)]))
  }
}
