import {
  biasOf,
  definePeftMethod,
  GraftError,
  type Model,
  type TargetOptions,
  targetedSchema,
  targets,
  trainParameter,
} from '@graft-peft/core'

const llama = ['input_layernorm', 'post_attention_layernorm', 'norm']
const gemma = [
  'input_layernorm',
  'post_attention_layernorm',
  'pre_feedforward_layernorm',
  'post_feedforward_layernorm',
  'norm',
]
const bloom = ['input_layernorm', 'post_attention_layernorm', 'ln_f']
const t5 = ['layer_norm', 'final_layer_norm']
/** The norms that HF PEFT trains by default, by model_type (peft/utils/constants.py). */
const targetModules: Record<string, readonly string[]> = {
  bart: ['self_attn_layer_norm', 'encoder_attn_layer_norm', 'final_layer_norm'],
  bloom,
  falcon: bloom,
  gemma: llama,
  gemma2: gemma,
  gemma3_text: gemma,
  gpt2: ['ln_1', 'ln_2', 'ln_f'],
  gptj: ['ln_1', 'ln_f'],
  llama,
  mistral: llama,
  mt5: t5,
  phi: ['input_layernorm', 'final_layernorm'],
  qwen2: ['post_attention_layernorm'],
  qwen3: ['post_attention_layernorm'],
  t5,
}
/** All norms, for a model that HF PEFT has no defaults for. */
const withDefault = (model: Model, options: TargetOptions): TargetOptions =>
  options.target_modules || String(model.config.model_type) in targetModules
    ? options
    : { ...options, target_modules: '.*' }

/** Trains the norms' weights and biases (Zhao et al., 2023, arXiv 2312.11420); options and defaults as HF PEFT's LNTuningConfig. */
export default definePeftMethod<TargetOptions>({
  name: 'ln_tuning',
  apiVersion: 1,
  peftType: 'LN_TUNING',
  family: 'selective',
  summary: "trains the norms' weights and biases",
  paper: 'https://arxiv.org/abs/2312.11420',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['layers_to_transform', 'layers_pattern'],
  startsAsIdentity: () => true,
  configSchema: targetedSchema({}),
  attach({ model, param }, options) {
    if (model.norms.length === 0)
      throw new GraftError(
        'NO_NORMS',
        `${model.file}: found no norm with a weight, so ln_tuning has nothing to train.`,
      )
    const chosen = targets(model, withDefault(model, options), {
      among: model.norms,
      defaults: targetModules,
    })
    for (const site of chosen) {
      trainParameter(param, site.weight, `${site.path}.ln_tuning_layers.weight`)
      const bias = biasOf(site)
      if (bias) trainParameter(param, bias, `${site.path}.ln_tuning_layers.bias`)
    }
    return { merge: () => [] }
  },
})
