import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Qwen 2 and 2.5 (Yang et al., 2024, arXiv 2407.10671): LLaMA with biases on query, key and value. */
export const qwen2 = defineArchitecture({
  name: 'qwen2',
  modelTypes: ['qwen2'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const first = c.config.flag('use_sliding_window', false)
      ? c.config.number('max_window_layers', 28)
      : Number.POSITIVE_INFINITY
    return gatedDecoder(c, {
      ...llamaLike(c.config),
      qkvBias: true,
      layers: slidingLayers(c.config, (i) => i >= first),
    })
  },
})
