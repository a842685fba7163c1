import {
  definePeftMethod,
  flag,
  GraftError,
  type TargetOptions,
  targetedSchema,
  targets,
  trainRows,
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
    const { token_indices: tokens, init_weights: asIs } = options
    if (model.embeddings.length === 0)
      throw new GraftError(
        'NO_TOKENS',
        `${model.file}: has no embedding whose rows could be trained. Choose a method that adapts weights, such as lora.`,
      )
    const own = model.tokenEmbedding?.path
    const target_modules = options.target_modules ?? (own === undefined ? null : [own])
    const sites = targets(model, { ...options, target_modules }, { among: model.embeddings })
    const replaced = sites.flatMap((site) =>
      trainRows({ model, g, param }, site, { tokens, name: `${site.path}.trainable_tokens_delta`, asIs }),
    )
    return { merge: () => replaced }
  },
})
