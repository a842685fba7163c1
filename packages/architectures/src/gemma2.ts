import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Gemma 2 (Gemma Team, 2024, arXiv 2408.00118): every other layer through a window, soft-capped scores and logits. */
export const gemma2 = defineArchitecture({
  name: 'gemma2',
  modelTypes: ['gemma2'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const bias = config.flag('attention_bias', false)
    const cap = (key: string) => (config.has(key) ? config.number(key) : undefined)
    return gatedDecoder(c, {
      ...llamaLike(config),
      gemma: true,
      qkvBias: bias,
      outputBias: bias,
      activation: 'gelu_pytorch_tanh',
      scale: config.number('query_pre_attn_scalar', 256) ** -0.5,
      softcap: cap('attn_logit_softcapping'),
      logitSoftcap: cap('final_logit_softcapping'),
      layers: slidingLayers(config, (i) => i % 2 === 0),
      tied: true,
    })
  },
})
