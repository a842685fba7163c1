import {
  biasOf,
  definePeftMethod,
  GraftError,
  type TargetOptions,
  targetedSchema,
  targets,
  trainParameter,
} from '@graft-peft/core'

/** Trains the norms' weights and biases (Zhao et al., 2023, arXiv 2312.11420); options as HF PEFT's LNTuningConfig. All norms by default. */
export default definePeftMethod<TargetOptions>({
  name: 'ln_tuning',
  apiVersion: 1,
  peftType: 'LN_TUNING',
  summary: "trains the norms' weights and biases",
  paper: 'https://arxiv.org/abs/2312.11420',
  learningRate: 1e-2,
  mergeable: true,
  startsAsIdentity: () => true,
  configSchema: targetedSchema({}),
  attach({ model, param }, options) {
    if (model.norms.length === 0)
      throw new GraftError(
        'NO_NORMS',
        `${model.file}: found no norm with a weight, so ln_tuning has nothing to train.`,
      )
    const chosen = options.target_modules ? targets(model, options, { among: model.norms }) : model.norms
    for (const site of chosen) {
      trainParameter(param, site.weight, `${site.path}.ln_tuning_layers.weight`)
      const bias = biasOf(site)
      if (bias) trainParameter(param, bias, `${site.path}.ln_tuning_layers.bias`)
    }
    return { merge: () => [] }
  },
})
