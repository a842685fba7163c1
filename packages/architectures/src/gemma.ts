import { defineArchitecture, type Settings } from '@graft-peft/core'
import {
  gatedDecoder,
  type GatedDecoder,
  headNorms,
  headWidthOf,
  llamaLike,
  slidingLayers,
} from './blocks/gated-decoder.js'
import { named } from './blocks/feed-forward.js'
import { decoderTasks } from './blocks/heads.js'
import { offsetRms } from './blocks/norms.js'

/** What all Gemmas share: norms scaled by 1 + w, embeddings by √width, tied embeddings. */
function gemmaLike(config: Settings): GatedDecoder {
  const like = llamaLike(config)
  const bias = config.flag('attention_bias', false)
  return {
    ...like,
    qkvBias: bias,
    outputBias: bias,
    norm: offsetRms(config.number('rms_norm_eps', 1e-6)),
    embeddingScale: Math.sqrt(config.count('hidden_size')),
    tied: true,
  }
}
/** Gemma 2 and 3: norms after attention and feed-forward too, scores by a width of their own, soft-capped logits. */
function sandwich(config: Settings): GatedDecoder {
  const like = gemmaLike(config)
  return {
    ...like,
    norms: {
      attention: 'input_layernorm',
      attended: 'post_attention_layernorm',
      feed: 'pre_feedforward_layernorm',
      fed: 'post_feedforward_layernorm',
    },
    feedForward: {
      ...like.feedForward,
      activation: named(config, 'hidden_activation', 'gelu_pytorch_tanh'),
    },
    scale: config.number('query_pre_attn_scalar', 256) ** -0.5,
    logitSoftcap: config.optional('final_logit_softcapping'),
  }
}

/** Gemma (Gemma Team, 2024, arXiv 2403.08295). Files that say "gelu" mean its approximation by tanh. */
export const gemma = defineArchitecture({
  name: 'gemma',
  modelTypes: ['gemma'],
  tasks: decoderTasks,
  prefix: 'model',
  // Where files have both names, hidden_act is what counts.
  ignores: ['hidden_activation'],
  build: (c) => {
    const { config } = c
    const like = gemmaLike(config)
    const tanh = config.text('hidden_act', 'gelu') === 'gelu'
    return gatedDecoder(c, {
      ...like,
      bidirectional: config.flag('use_bidirectional_attention', false),
      feedForward: tanh
        ? { ...like.feedForward, activation: (at, x) => at.g.op('Gelu', [x], { approximate: 'tanh' }) }
        : like.feedForward,
    })
  },
})

/** Gemma 2 (Gemma Team, 2024, arXiv 2408.00118): every other layer through a window, soft-capped scores and logits. */
export const gemma2 = defineArchitecture({
  name: 'gemma2',
  modelTypes: ['gemma2'],
  tasks: decoderTasks,
  prefix: 'model',
  // Files carry the older name too; hidden_activation is what counts.
  ignores: ['hidden_act', 'cache_implementation'],
  build: (c) =>
    gatedDecoder(c, {
      ...sandwich(c.config),
      softcap: c.config.optional('attn_logit_softcapping'),
      layers: slidingLayers(c.config, (i) => i % 2 === 0),
    }),
})

/**
 * Gemma 3, texts (Gemma Team, 2025, arXiv 2503.19786): five layers through a window for each that sees all, each kind with its own
 * rope. EmbeddingGemma (arXiv 2509.20354) is one that sees later tokens too.
 */
export const gemma3 = defineArchitecture({
  name: 'gemma3',
  modelTypes: ['gemma3_text'],
  tasks: decoderTasks,
  prefix: 'model',
  // transformers' Gemma 3 doesn't cap scores.
  ignores: ['hidden_act', 'cache_implementation', 'attn_logit_softcapping', '_sliding_window_pattern'],
  build: (c) => {
    const { config } = c
    const like = sandwich(config)
    const bidirectional = config.flag('use_bidirectional_attention', false)
    const pattern = config.count('sliding_window_pattern', 6)
    const layers = slidingLayers(config, (i) => (i + 1) % pattern !== 0)
    // Read whichever kinds of layers there are.
    for (const key of ['rope_theta', 'rope_local_base_freq', 'rope_scaling']) config.heed(key)
    return gatedDecoder(c, {
      ...like,
      headNorm: headNorms(like.norm, headWidthOf(config)),
      bidirectional,
      layers: layers.map(({ window }) => ({
        // The config counts both sides.
        window: bidirectional && window !== undefined ? Math.floor(window / 2) : window,
        rope: window === undefined ? 'full_attention' : 'sliding_attention',
      })),
      ropes: {
        full_attention: { theta: 1e6 },
        sliding_attention: { theta: 1e4, thetaKeys: ['rope_local_base_freq'], unscaled: true },
      },
    })
  },
})
