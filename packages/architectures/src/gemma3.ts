import { defineArchitecture } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Gemma 3, texts (Gemma Team, 2025, arXiv 2503.19786): five layers through a window for each that sees all, each kind with its own rope. */
export const gemma3 = defineArchitecture({
  name: 'gemma3',
  modelTypes: ['gemma3_text'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const bias = config.flag('attention_bias', false)
    const cap = (key: string) => (config.has(key) ? config.number(key) : undefined)
    const pattern = config.count(['sliding_window_pattern', '_sliding_window_pattern'], 6)
    const layers = slidingLayers(config, (i) => (i + 1) % pattern !== 0)
    return gatedDecoder(c, {
      ...llamaLike(config),
      gemma: true,
      headNorms: true,
      qkvBias: bias,
      outputBias: bias,
      activation: 'gelu_pytorch_tanh',
      scale: config.number('query_pre_attn_scalar', 256) ** -0.5,
      softcap: cap('attn_logit_softcapping'),
      logitSoftcap: cap('final_logit_softcapping'),
      layers: layers.map((kind) => ({
        ...kind,
        rope: kind.window === undefined ? 'full_attention' : 'sliding_attention',
      })),
      ropes: {
        full_attention: { theta: 1e6 },
        sliding_attention: { theta: 1e4, thetaKeys: ['rope_local_base_freq'], unscaled: true },
      },
      tied: true,
    })
  },
})
