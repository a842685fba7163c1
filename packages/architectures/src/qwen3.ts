import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Qwen 3 (Yang et al., 2025, arXiv 2505.09388): LLaMA with normalised query and key heads. */
export const qwen3 = defineArchitecture({
  name: 'qwen3',
  modelTypes: ['qwen3'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const bias = c.config.flag('attention_bias', false)
    const first = c.config.flag('use_sliding_window', false)
      ? c.config.number('max_window_layers', 28)
      : Number.POSITIVE_INFINITY
    return gatedDecoder(c, {
      ...llamaLike(c.config),
      headNorms: true,
      qkvBias: bias,
      outputBias: bias,
      layers: slidingLayers(c.config, (i) => i >= first),
    })
  },
})
