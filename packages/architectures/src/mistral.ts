import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Mistral (Jiang et al., 2023, arXiv 2310.06825): LLaMA with a sliding window. */
export const mistral = defineArchitecture({
  name: 'mistral',
  modelTypes: ['mistral'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => gatedDecoder(c, { ...llamaLike(c.config), layers: slidingLayers(c.config, () => true) }),
})
