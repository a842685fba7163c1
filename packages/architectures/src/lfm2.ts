import { type ArchitectureContext, defineArchitecture, type Settings, type Value } from '@graft-peft/core'
import { gatedFeedForward } from './blocks/feed-forward.js'
import { gatedDecoder, headNorms, headWidthOf, llamaLike } from './blocks/gated-decoder.js'
import { rms } from './blocks/norms.js'
import type { Scope } from './blocks/scope.js'
import { causalConvolution, ConvolutionCache } from './blocks/short-convolution.js'
import type { TextInputs } from './blocks/inputs.js'

/** LFM2 (Liquid AI, 2025): gated convolutions over a few tokens in most layers, attention in the others. */
export const lfm2 = defineArchitecture({
  name: 'lfm2',
  modelTypes: ['lfm2'],
  tasks: ['causal-lm', 'features'],
  prefix: 'model',
  // Names of other code for what has its own key, and how weights started.
  ignores: ['block_dim', 'block_mlp_init_scale', 'block_norm_eps', 'block_out_init_scale', 'block_use_swiglu', 'block_use_xavier_init', 'conv_dim', 'conv_dim_out', 'conv_use_xavier_init', 'num_heads', 'theta', 'use_pos_enc', 'rms_norm_eps', 'hidden_act'], // biome-ignore format: one line
  build: (c) => {
    const { config } = c
    const norm = rms(config.number('norm_eps', 1e-5))
    const cache = new ConvolutionCache(c)
    const isConvolution = convolutions(config)
    const [width, inner] = [config.count('hidden_size'), innerOf(config)]
    const like = llamaLike(config)
    const feedForward = { ...like.feedForward, gate: 'w1', up: 'w3', down: 'w2' }
    const convolve = convolution(c, width, cache)
    const tie_word_embeddings = config.flag(['tie_embedding', 'tie_word_embeddings'], true)
    return gatedDecoder(
      { ...c, config: config.with({ tie_word_embeddings }) },
      {
        ...like,
        norm,
        norms: { attention: 'operator_norm', feed: 'ffn_norm' },
        finalNorm: 'embedding_norm',
        headNorm: headNorms(norm, headWidthOf(config), '_layernorm'),
        outputName: 'out_proj',
        mixer: (layer, x, i, inputs) => (isConvolution(i) ? convolve(layer, x, i, inputs) : undefined),
        states: cache.outputs,
        experts: (layer, x) => gatedFeedForward(layer.in('feed_forward'), feedForward, width, inner, x),
      },
    )
  },
})

function convolutions(config: Settings): (i: number) => boolean {
  const count = config.count('num_hidden_layers')
  const attend = config.lists('full_attn_idxs')
  const types = config.texts('layer_types', count)
  const strange = types?.find((type) => type !== 'conv' && type !== 'full_attention')
  if (strange) throw config.wrong('layer_types', 'conv or full_attention', strange)
  return (i) => (types ? types[i] === 'conv' : attend !== undefined && !attend.includes(i))
}

/** Two thirds of the stated width, to a multiple, where the config says so. */
function innerOf(config: Settings): number {
  const stated = config.count(['block_ff_dim', 'intermediate_size'])
  const [factor, multiple] = [
    config.number('block_ffn_dim_multiplier', 1),
    config.count('block_multiple_of', 256),
  ]
  if (!config.flag('block_auto_adjust_ff_dim', true)) return stated
  return multiple * Math.ceil(Math.floor(factor * Math.floor((2 * stated) / 3)) / multiple)
}

/** out(C · convolution(B · x)) */
function convolution({ g, config }: ArchitectureContext, width: number, cache: ConvolutionCache) {
  const [taps, bias] = [config.count('conv_L_cache', 3), config.flag('conv_bias', false)]
  return (layer: Scope, x: Value, i: number, inputs: TextInputs): Value => {
    const at = layer.in('conv')
    const fused = at.linear('in_proj', x, width, 3 * width, bias)
    const [before, after, values] = at.run(() => g.split(fused, [width, width, width], -1))
    const gated = at.run(() => g.mul(before, values))
    const mixed = causalConvolution(at, 'conv', gated, { taps, width, bias }, inputs, { layer: i, cache })
    const out = at.run(() => g.mul(after, mixed))
    return at.linear('out_proj', out, width, width, bias)
  }
}
