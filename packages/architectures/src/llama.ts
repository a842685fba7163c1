import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** LLaMA 1 to 3 (Touvron et al., 2023, arXiv 2302.13971) and its derivatives: Alpaca, Vicuña, SmolLM, … */
export const llama = defineArchitecture({
  name: 'llama',
  modelTypes: ['llama'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['is_llama_config', 'rope_interleaved'],
  build: (c) => {
    const bias = c.config.flag('attention_bias', false)
    const like = llamaLike(c.config)
    return gatedDecoder(c, {
      ...like,
      qkvBias: bias,
      outputBias: bias,
      feedForward: { ...like.feedForward, bias: c.config.flag('mlp_bias', false) },
    })
  },
})
