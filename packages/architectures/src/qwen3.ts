import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, headNorms, headWidthOf, llamaLike } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import { windowAfter } from './qwen2.js'

/** Qwen 3 (Yang et al., 2025, arXiv 2505.09388): LLaMA with normalised query and key heads. */
export const qwen3 = defineArchitecture({
  name: 'qwen3',
  modelTypes: ['qwen3'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const bias = c.config.flag('attention_bias', false)
    const like = llamaLike(c.config)
    return gatedDecoder(c, {
      ...like,
      headNorm: headNorms(like.norm, headWidthOf(c.config)),
      qkvBias: bias,
      outputBias: bias,
      layers: windowAfter(c.config),
    })
  },
})
