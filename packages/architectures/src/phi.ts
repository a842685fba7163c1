import { defineArchitecture } from '@graft-peft/core'
import { named } from './blocks/feed-forward.js'
import { gatedDecoder, headNorms, headWidthOf, llamaLike } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import { layerNorm } from './blocks/norms.js'

/** Phi-1 to Phi-2 (Li et al., 2023, arXiv 2309.05463): attention and feed-forward side by side, biases everywhere, half of each head turns. */
export const phi = defineArchitecture({
  name: 'phi',
  modelTypes: ['phi'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const norm = layerNorm(config.number('layer_norm_eps', 1e-5))
    const normalises = config.flag('qk_layernorm', false)
    return gatedDecoder(c, {
      ...llamaLike(config),
      qkvBias: true,
      outputBias: true,
      outputName: 'dense',
      norm,
      norms: { attention: 'input_layernorm' },
      finalNorm: 'final_layernorm',
      parallel: true,
      headNorm: normalises ? headNorms(norm, headWidthOf(config), '_layernorm') : undefined,
      logitBias: true,
      feedForward: {
        up: 'fc1',
        down: 'fc2',
        bias: true,
        activation: named(config, 'hidden_act', 'gelu_new'),
      },
      ropeShape: { partial: 0.5 },
    })
  },
})
