import { defineArchitecture, type Value } from '@graft-peft/core'
import { named } from './blocks/feed-forward.js'
import { gatedDecoder, headNorms, headWidthOf, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import { layerNorm, offsetLayerNorm } from './blocks/norms.js'
import type { Scope } from './blocks/scope.js'
import { plainFeedForward } from './kin.js'

/** StableLM 2 (Bellagente et al., 2024, arXiv 2402.17834): layer norms, a quarter of each head turns. */
export const stablelm = defineArchitecture({
  name: 'stablelm',
  modelTypes: ['stablelm'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const epsilon = config.number('layer_norm_eps', 1e-5)
    const parallel = config.flag('use_parallel_residual', false)
    const normalises = config.flag('qk_layernorm', false)
    return gatedDecoder(c, {
      ...llamaLike(config),
      qkvBias: config.flag('use_qkv_bias', false),
      norm: layerNorm(epsilon),
      norms: { attention: 'input_layernorm', feed: parallel ? undefined : 'post_attention_layernorm' },
      parallel,
      headNorm: normalises
        ? (at, part, x, heads) =>
            eachHead(at.in(`${part}_layernorm.norms`), x, heads, headWidthOf(config), epsilon)
        : undefined,
      ropeShape: { partial: 0.25 },
    })
  },
})
/** A norm without bias for each head, as modules of their own. */
function eachHead(at: Scope, x: Value, heads: number, width: number, epsilon: number): Value {
  const parts = at.run(() => at.g.split(x, new Array<number>(heads).fill(1), 1))
  const normed = parts.map((y, i) => at.layerNorm(`${i}`, y, width, epsilon, false))
  return at.run(() => at.g.concat(normed, 1))
}

/** StarCoder 2 (Lozhkov et al., 2024, arXiv 2402.19173): layer norms, no gate, a window. */
export const starcoder2 = defineArchitecture({
  name: 'starcoder2',
  modelTypes: ['starcoder2'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['mlp_type', 'norm_type', 'activation_function', 'residual_dropout'],
  build: (c) => {
    const { config } = c
    const bias = config.flag('use_bias', true)
    return gatedDecoder(c, {
      ...llamaLike(config),
      qkvBias: bias,
      outputBias: bias,
      norm: layerNorm(config.number('norm_epsilon', 1e-5)),
      feedForward: {
        up: 'c_fc',
        down: 'c_proj',
        bias,
        activation: named(config, 'hidden_act', 'gelu_pytorch_tanh'),
      },
      layers: slidingLayers(config, () => true),
      tied: true,
    })
  },
})

/** Nemotron 4, Minitron (Parmar et al., 2024, arXiv 2402.16819): layer norms scaled by 1 + w, squared ReLU, half of each head turns. */
export const nemotron = defineArchitecture({
  name: 'nemotron',
  modelTypes: ['nemotron'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const bias = config.flag('attention_bias', false)
    return gatedDecoder(c, {
      ...llamaLike(config),
      qkvBias: bias,
      outputBias: bias,
      norm: offsetLayerNorm(config.number('norm_eps', 1e-5)),
      feedForward: plainFeedForward(config, config.flag('mlp_bias', false), 'relu2'),
      ropeShape: { partial: 0.5 },
    })
  },
})

/** Apertus (Swiss AI, 2025, arXiv 2509.14233): xIELU, normalised heads. */
export const apertus = defineArchitecture({
  name: 'apertus',
  modelTypes: ['apertus'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const like = llamaLike(config)
    const bias = config.flag('attention_bias', false)
    const act = config.text('hidden_act', 'xielu')
    const learned = { ...plainFeedForward(config, false, 'relu'), activation: xielu }
    return gatedDecoder(c, {
      ...like,
      qkvBias: bias,
      outputBias: bias,
      norms: { attention: 'attention_layernorm', feed: 'feedforward_layernorm' },
      headNorm: headNorms(like.norm, headWidthOf(config)),
      feedForward: act === 'xielu' ? learned : plainFeedForward(config, false, act),
    })
  },
})

/** Expanded integral of the ELU (Huang and Schlag, 2024, arXiv 2411.13010): learned curvature on both sides of zero. */
function xielu(at: Scope, x: Value): Value {
  const { g } = at
  const own = at.in('act_fn')
  const [up, down] = ['alpha_p', 'alpha_n'].map((name) => own.parameter(name, [1]))
  const [beta, least] = ['beta', 'eps'].map((name) => own.parameter(name, []))
  return own.run(() => {
    const plus = g.op('Softplus', [up])
    const minus = g.add(beta, g.op('Softplus', [down]))
    const linear = g.mul(beta, x)
    const above = g.add(g.mul(plus, g.square(x)), linear)
    const low = g.op('Min', [x, least])
    const below = g.add(g.mul(minus, g.sub(g.sub(g.op('Exp', [low]), g.scalar(1)), x)), linear)
    return g.where(g.greater(x, g.scalar(0)), above, below)
  })
}
