import { defineArchitecture, type Settings } from '@graft-peft/core'
import {
  gatedDecoder,
  type GatedDecoder,
  headWidthOf,
  llamaLike,
  slidingLayers,
} from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import { bareLayerNorm } from './blocks/norms.js'

const own = { tasks: decoderTasks, prefix: 'model' }
function olmoLike(config: Settings): GatedDecoder {
  const bias = config.flag('attention_bias', false)
  return { ...llamaLike(config), qkvBias: bias, outputBias: bias }
}
/** Norms after attention and feed-forward alone, and of all query and key heads at once. */
function normsAfter(config: Settings): GatedDecoder {
  const like = olmoLike(config)
  return {
    ...like,
    norms: { attended: 'post_attention_layernorm', fed: 'post_feedforward_layernorm' },
    wholeNorm: (at, part, x, heads) => like.norm(at, `${part}_norm`, x, heads * headWidthOf(config)),
  }
}

/** OLMo (Groeneveld et al., 2024, arXiv 2402.00838): layer norms without parameters. */
export const olmo = defineArchitecture({
  ...own,
  name: 'olmo',
  modelTypes: ['olmo'],
  build: (c) =>
    gatedDecoder(c, {
      ...olmoLike(c.config),
      norm: bareLayerNorm(1e-5),
      clip: c.config.optional('clip_qkv'),
    }),
})

/** OLMo 2 (OLMo Team, 2024, arXiv 2501.00656). */
export const olmo2 = defineArchitecture({
  ...own,
  name: 'olmo2',
  modelTypes: ['olmo2'],
  build: (c) => gatedDecoder(c, normsAfter(c.config)),
})

/** OLMo 3 (OLMo Team, 2025): three layers of four through a window, whose ropes aren't scaled. */
export const olmo3 = defineArchitecture({
  ...own,
  name: 'olmo3',
  modelTypes: ['olmo3'],
  build: (c) => {
    const layers = slidingLayers(c.config, (i) => (i + 1) % 4 !== 0)
    for (const key of ['rope_theta', 'rope_scaling']) c.config.heed(key)
    return gatedDecoder(c, {
      ...normsAfter(c.config),
      layers: layers.map(({ window }) => ({
        window,
        rope: window === undefined ? 'full_attention' : 'sliding_attention',
      })),
      // transformers gives rope_theta to the other layers alone.
      ropes: { sliding_attention: { unscaled: true, thetaKeys: [], theta: 500000 } },
    })
  },
})
