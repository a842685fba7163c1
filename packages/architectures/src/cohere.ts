import { defineArchitecture, type Settings, type Value } from '@graft-peft/core'
import {
  gatedDecoder,
  type GatedDecoder,
  headWidthOf,
  llamaLike,
  slidingLayers,
} from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import { layerNorm } from './blocks/norms.js'
import type { Scope } from './blocks/scope.js'

/** Attention and feed-forward side by side behind one norm, neighbouring features turn together, logits are scaled. */
function cohereLike(config: Settings): GatedDecoder {
  const bias = config.flag('attention_bias', false)
  return {
    ...llamaLike(config),
    qkvBias: bias,
    outputBias: bias,
    norm: layerNorm(config.number('layer_norm_eps', 1e-5), false),
    norms: { attention: 'input_layernorm' },
    parallel: true,
    ropeShape: { interleaved: true },
    logitScale: config.number('logit_scale', 0.0625),
    tied: true,
  }
}

/** Each head has a norm of its own: weight [heads, width]. */
function perHead(at: Scope, name: string, x: Value, heads: number, width: number, epsilon: number): Value {
  const own = at.in(name)
  const weight = own.parameter('weight', [heads, width])
  return own.run(() => {
    const ones = at.g.constant('float32', new Array<number>(width).fill(1), [width])
    const normed = at.g.op('LayerNormalization', [x, ones], { axis: -1, epsilon, stash_type: 1 })
    return at.g.mul(normed, at.g.reshape(weight, [1, heads, 1, width]))
  })
}

/** Command R (Cohere, 2024). */
export const cohere = defineArchitecture({
  name: 'cohere',
  modelTypes: ['cohere'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => {
    const { config } = c
    const [epsilon, width] = [config.number('layer_norm_eps', 1e-5), headWidthOf(config)]
    const normalises = config.flag('use_qk_norm', false)
    return gatedDecoder(c, {
      ...cohereLike(config),
      headNorm: normalises
        ? (at, part, x, heads) => perHead(at, `${part}_norm`, x, heads, width, epsilon)
        : undefined,
    })
  },
})

/** Command R7B, Aya (Cohere, 2024): three layers of four through a window, the fourth without positions. */
export const cohere2 = defineArchitecture({
  name: 'cohere2',
  modelTypes: ['cohere2'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: [
    'cache_implementation',
    'order_of_interleaved_layers',
    'position_embedding_type',
    'rotary_pct',
    'use_embedding_sharing',
    'use_gated_activation',
    'use_parallel_block',
    'use_parallel_embedding',
    'use_qk_norm',
    'layer_switch',
  ],
  build: (c) => {
    const pattern = c.config.optionalCount('sliding_window_pattern') ?? 4
    const layers = slidingLayers(c.config, (i) => (i + 1) % pattern !== 0)
    return gatedDecoder(c, {
      ...cohereLike(c.config),
      layers: layers.map((kind) => (kind.window === undefined ? { ...kind, rope: false } : kind)),
    })
  },
})
