import { defineArchitecture, type Settings } from '@graft-peft/core'
import { gatedDecoder, type GatedDecoder, llamaLike } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Half of each head turns, neighbouring features together; gate and up are one projection. */
function glmLike(config: Settings): GatedDecoder {
  const like = llamaLike(config)
  return {
    ...like,
    qkvBias: config.flag('attention_bias', false),
    feedForward: { ...like.feedForward, gate: undefined, up: 'gate_up_proj', fused: true },
    ropeShape: { interleaved: true, partial: 0.5 },
  }
}

/** GLM-4 (GLM Team, 2024, arXiv 2406.12793). */
export const glm = defineArchitecture({
  name: 'glm',
  modelTypes: ['glm'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => gatedDecoder(c, glmLike(c.config)),
})

/** GLM-4-0414 (GLM Team, 2025): norms after attention and feed-forward too. */
export const glm4 = defineArchitecture({
  name: 'glm4',
  modelTypes: ['glm4'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) =>
    gatedDecoder(c, {
      ...glmLike(c.config),
      norms: {
        attention: 'input_layernorm',
        attended: 'post_self_attn_layernorm',
        feed: 'post_attention_layernorm',
        fed: 'post_mlp_layernorm',
      },
    }),
})
