import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Phi-3 and Phi-4-mini (Abdin et al., 2024, arXiv 2404.14219): LLaMA with fused projections. */
export const phi3 = defineArchitecture({
  name: 'phi3',
  modelTypes: ['phi3'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['attention_bias'],
  build: (c) => {
    const like = llamaLike(c.config)
    return gatedDecoder(c, {
      ...like,
      fused: true,
      feedForward: { ...like.feedForward, gate: undefined, up: 'gate_up_proj', fused: true },
      ropeShape: { partial: 1 },
      layers: slidingLayers(c.config, () => true),
    })
  },
})
