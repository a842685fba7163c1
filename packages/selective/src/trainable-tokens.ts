import {
  copyOf,
  definePeftMethod,
  type EmbeddingSite,
  flag,
  GraftError,
  type Initialiser,
  type MergedWeight,
  normal,
  type TargetOptions,
  targetedSchema,
  targets,
} from '@graft-peft/core'

export interface TrainableTokensOptions extends TargetOptions {
  token_indices: readonly number[]
  init_weights: boolean
}

/** Trains chosen rows of the token embedding, and of an output layer tied to it; options as HF PEFT's TrainableTokensConfig. */
export default definePeftMethod<TrainableTokensOptions>({
  name: 'trainable_tokens',
  apiVersion: 1,
  peftType: 'TRAINABLE_TOKENS',
  family: 'selective',
  summary: 'trains chosen rows of the embedding',
  learningRate: 1e-3,
  mergeable: true,
  ownOptions: ['modules_to_save', 'exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: {
    ...targetedSchema({
      token_indices: {
        type: 'array',
        items: { type: 'integer', minimum: 0 },
        minItems: 1,
        uniqueItems: true,
      },
      init_weights: flag(true),
    }),
    required: ['token_indices'],
  },
  attach({ model, g, param }, options) {
    const tokens = options.token_indices
    const own = model.tokenEmbedding ? [model.tokenEmbedding] : []
    const sites =
      options.target_modules || own.length === 0 ? targets(model, options, { among: model.embeddings }) : own
    const replaced = sites.flatMap((site): MergedWeight[] => {
      const beyond = tokens.find((t) => t >= site.rows)
      if (beyond !== undefined)
        throw new GraftError(
          'BAD_METHOD_OPTION',
          `method trainable_tokens: token_indices: ${beyond} is not a row of ${site.path}, which has ${site.rows}.`,
        )
      const init = options.init_weights ? rowsOf(site, tokens) : normal(1)
      const rows = param(`${site.path}.trainable_tokens_delta`, { shape: [tokens.length, site.width], init })
      const indices = g.constant('int64', tokens, [tokens.length, 1])
      const head = model.outputEmbedding
      const tied = head && head.weight.constant?.data === site.weight.constant?.data
      // Rows are exchanged where they are read, so the table itself is never copied; an output layer reads all of it.
      site.output.map((y, ids) => {
        const hits = g.equal(g.unsqueeze(ids, [-1]), g.ints(tokens))
        const picked = g.cast(hits, 'float32')
        return g.where(g.greater(g.reduceSum(picked, [-1]), g.scalar(0)), g.matMul(picked, rows), y)
      })
      const form = (w: typeof rows) => g.op('ScatterND', [w, indices, rows])
      if (tied) head.weight.map(form)
      return [[site.weight, form]]
    })
    return { merge: () => replaced }
  },
})

const rowsOf =
  (site: EmbeddingSite, tokens: readonly number[]): Initialiser =>
  (_, random) => {
    const table = copyOf(site.weight)([site.rows, site.width], random)
    return Float32Array.from(tokens.flatMap((t) => [...table.subarray(t * site.width, (t + 1) * site.width)]))
  }
