import { defineArchitecture, type Settings } from '@graft-peft/core'
import { named } from './blocks/feed-forward.js'
import {
  gatedDecoder,
  type GatedDecoder,
  headNorms,
  headWidthOf,
  type LayerKind,
  llamaLike,
  slidingLayers,
} from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** LLaMA with attention_bias and mlp_bias. */
function biased(config: Settings): GatedDecoder {
  const like = llamaLike(config)
  const bias = config.flag(['attention_bias', 'qkv_bias'], false)
  return {
    ...like,
    qkvBias: bias,
    outputBias: bias,
    feedForward: { ...like.feedForward, bias: config.flag(['mlp_bias', 'bias'], false) },
  }
}
const decoder = (modelType: string, variant: (config: Settings) => GatedDecoder, ignores: string[] = []) =>
  defineArchitecture({
    name: modelType,
    modelTypes: [modelType],
    tasks: decoderTasks,
    prefix: 'model',
    ignores,
    build: (c) => gatedDecoder(c, variant(c.config)),
  })

/** Granite 3 (IBM, 2024): multipliers of embeddings, scores, what layers add, and logits. */
export const graniteLike = (config: Settings): GatedDecoder => ({
  ...biased(config),
  embeddingScale: config.number('embedding_multiplier', 1),
  residualScale: config.number('residual_multiplier', 1),
  scale: config.number('attention_multiplier', 1),
  logitScale: 1 / config.number('logits_scaling', 1),
})
export const granite = decoder('granite', graniteLike)

/** SmolLM 3 (Bakouch et al., 2025): every fourth layer has no positions. */
export const smollm3 = decoder(
  'smollm3',
  (config) => {
    const count = config.count('num_hidden_layers')
    const every = config.count('no_rope_layer_interval', 4)
    const turns =
      config.numbersOf('no_rope_layers', count) ??
      Array.from({ length: count }, (_, i) => Number((i + 1) % every !== 0))
    const windows = config.flag('use_sliding_window', false)
    const layers = slidingLayers(config, (i) => windows && !turns[i])
    return {
      ...biased(config),
      layers: layers.map((kind, i): LayerKind => (turns[i] ? kind : { ...kind, rope: false })),
    }
  },
  ['max_window_layers'],
)

/** Seed-OSS (ByteDance, 2025): biases on query, key and value, and where asked on the output. */
export const seedOss = decoder('seed_oss', (config) => ({
  ...biased(config),
  outputBias: config.flag('attention_out_bias', false),
}))

/** ERNIE 4.5 (Baidu, 2025): neighbouring features turn together. */
export function ernieLike(config: Settings): GatedDecoder {
  const like = llamaLike(config)
  const bias = config.flag('use_bias', false)
  return {
    ...like,
    qkvBias: bias,
    outputBias: bias,
    feedForward: { ...like.feedForward, bias },
    ropeShape: { interleaved: true },
  }
}
export const ernie = decoder('ernie4_5', ernieLike, ['fuse_rms_norm', 'compression_ratio'])

/** Helium (Kyutai, 2025): neighbouring features turn together. */
export const helium = decoder('helium', (config) => ({
  ...biased(config),
  outputBias: false,
  ropeShape: { interleaved: true },
}))

/** HunYuan, dense (Tencent, 2025): query and key are normalised after they are turned. */
export const hunyuan = decoder(
  'hunyuan_v1_dense',
  (config) => {
    const like = biased(config)
    const norm = like.norm
    return {
      ...like,
      feedForward: { ...like.feedForward, bias: false },
      turnedNorm: (at, part, x) =>
        norm(at, part === 'q' ? 'query_layernorm' : 'key_layernorm', x, headWidthOf(config)),
    }
  },
  ['mlp_bias'],
)

/** AFM (Arcee, 2025): no gate, squared ReLU. */
export const arcee = decoder('arcee', (config) => {
  const like = biased(config)
  return { ...like, feedForward: { ...like.feedForward, gate: undefined } }
})

/** InternLM 3 (Cai et al., 2025): LLaMA with other names for its biases. */
export const internlm3 = decoder('internlm3', biased)

/** Code World Model (FAIR, 2025): LLaMA with three layers of four through a window. */
export const cwm = decoder('cwm', (config) => {
  const like = llamaLike(config)
  return {
    ...like,
    feedForward: { ...like.feedForward, bias: config.flag('mlp_bias', false) },
    layers: slidingLayers(config, (i) => i % 4 !== 0),
  }
})

/** EXAONE 4 (LG AI Research, 2025, arXiv 2507.11407): norms after attention and feed-forward alone, positions in windowed layers alone. */
export const exaone4 = decoder('exaone4', (config) => {
  const like = llamaLike(config)
  const window = config.optionalCount('sliding_window')
  const pattern = config.optionalCount('sliding_window_pattern') ?? 4
  const layers = slidingLayers(config, (i) => window !== undefined && (i + 1) % pattern !== 0)
  return {
    ...like,
    norms: { attended: 'post_attention_layernorm', fed: 'post_feedforward_layernorm' },
    headNorm: headNorms(like.norm, headWidthOf(config)),
    layers: layers.map(
      (kind): LayerKind =>
        window === undefined || kind.window !== undefined ? kind : { ...kind, rope: false },
    ),
  }
})

/** Starts from LLaMA's table, with a feed-forward part that has no gate. */
export const plainFeedForward = (config: Settings, bias: boolean, activation: string) => ({
  gate: undefined,
  up: 'up_proj',
  down: 'down_proj',
  bias,
  activation: named(config, 'hidden_act', activation),
})
