import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { gptDecoder } from './blocks/gpt-decoder.js'
import { decoderTasks, summaryKeys } from './blocks/heads.js'
import { attentionBias } from './blocks/masks.js'
import type { Scope } from './blocks/scope.js'

/** GPT-2 (Radford et al., 2019): learned positions, weights stored [in, out]. */
export const gpt2 = defineArchitecture({
  name: 'gpt2',
  modelTypes: ['gpt2'],
  tasks: decoderTasks,
  prefix: 'transformer',
  // The head of multiple choice, and how sums are ordered.
  ignores: [...summaryKeys, 'reorder_and_upcast_attn', 'n_ctx'],
  // Checkpoints hold causal masks.
  unused: (tensor) => /attn\.(masked_)?bias$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const act = activation(config, 'activation_function', 'gelu_new')
  const scaled = config.flag('scale_attn_weights', true)
  const byLayer = config.flag('scale_attn_by_inverse_layer_idx', false)
  return gptDecoder(c, ({ width, heads, headWidth, inputs, cache }) => {
    const bias = attentionBias(g, inputs, { causal: true })
    const inner = config.count('n_inner', 4 * width)
    const base = scaled ? 1 / Math.sqrt(headWidth) : 1
    const attention = (at: Scope, i: number, x: Value): Value => {
      const fused = at.conv1d('c_attn', x, width, 3 * width)
      const mixed = at.run(() => {
        const [query, key, value] = g
          .split(fused, [width, width, width], -1)
          .map((y) => splitHeads(g, y, heads, headWidth))
        const scale = byLayer ? base / (i + 1) : base
        return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias, scale }))
      })
      return at.conv1d('c_proj', mixed, width, width)
    }
    const feedForward = (at: Scope, x: Value): Value => {
      const up = at.conv1d('c_fc', x, width, inner)
      const activated = at.in('act').run(() => act(g, up))
      return at.conv1d('c_proj', activated, inner, width)
    }
    return { attention, feedForward }
  })
}
