import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { gptDecoder } from './blocks/gpt-decoder.js'
import { decoderTasks, summaryKeys } from './blocks/heads.js'
import { attentionBias } from './blocks/masks.js'
import type { Scope } from './blocks/scope.js'

/** StarCoder, SantaCoder (Li et al., 2023, arXiv 2305.06161): GPT-2 whose heads share one key and value. */
export const gptBigCode = defineArchitecture({
  name: 'gpt-bigcode',
  modelTypes: ['gpt_bigcode'],
  tasks: decoderTasks,
  prefix: 'transformer',
  ignores: [
    ...summaryKeys,
    'attention_softmax_in_fp32',
    'scale_attention_softmax_in_fp32',
    'inference_runner',
    'max_batch_size',
    'max_sequence_length',
    'pad_key_length',
    'pre_allocate_kv_cache',
    'validate_runner_input',
    'num_key_value_heads',
    'n_ctx',
  ],
  unused: (tensor) => /attn\.(masked_)?bias$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const activation = named(config, 'activation_function', 'gelu_pytorch_tanh')
  const shares = config.flag('multi_query', true)
  const scaled = config.flag('scale_attn_weights', true)
  return gptDecoder(c, ({ width, heads, headWidth, inputs, cache }) => {
    const bias = attentionBias(g, inputs, { causal: true })
    const inner = config.count('n_inner', 4 * width)
    const scale = scaled ? headWidth ** -0.5 : 1
    /** Query, key and value of all heads, or each head's own side by side. */
    const headsOf = (fused: Value): Value[] => {
      if (!shares)
        return g.split(splitHeads(g, fused, heads, 3 * headWidth), [headWidth, headWidth, headWidth], -1)
      const [query, ...one] = g.split(fused, [width, headWidth, headWidth], -1)
      return [splitHeads(g, query, heads, headWidth), ...one.map((y) => splitHeads(g, y, 1, headWidth))]
    }
    const attention = (at: Scope, i: number, x: Value): Value => {
      const fused = at.linear('c_attn', x, width, shares ? width + 2 * headWidth : 3 * width)
      const mixed = at.run(() => {
        const [query, key, value] = headsOf(fused)
        return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias, scale }))
      })
      return at.linear('c_proj', mixed, width, width)
    }
    const feedForward = (at: Scope, x: Value) =>
      gatedFeedForward(at, { up: 'c_fc', down: 'c_proj', bias: true, activation }, width, inner, x)
    return { attention, feedForward }
  })
}
