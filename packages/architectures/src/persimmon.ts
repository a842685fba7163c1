import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { attend, Cache, joinHeads } from './blocks/attention.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** Persimmon (Adept, 2023): normalised heads of which half turn, squared ReLU. */
export const persimmon = defineArchitecture({
  name: 'persimmon',
  modelTypes: ['persimmon'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['hidden_dropout'],
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner } = layerSizes(config)
  const [rows, epsilon] = [config.count('vocab_size'), config.number('layer_norm_eps', 1e-5)]
  const headWidth = Math.floor(width / heads)
  const normalises = config.flag('qk_layernorm', true)
  const feedForward = {
    up: 'dense_h_to_4h',
    down: 'dense_4h_to_h',
    bias: true,
    activation: named(config, 'hidden_act', 'relu2'),
  }
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'model')
  const inputs = textInputs(c)
  const bias = attentionBias(g, inputs, { causal: true })
  const turns = rope(g, config, inputs, { headWidth, partial: 0.5 })
  const cache = new Cache(c)
  const attention = (at: Scope, i: number, x: Value): Value => {
    const fused = at.linear('query_key_value', x, width, 3 * width)
    const mixed = at.run(() => {
      // Each head's query, key and value lie side by side.
      const perHead = g.op('Reshape', [fused, g.ints([0, 0, heads, 3 * headWidth])])
      const [q, k, value] = g.split(g.transpose(perHead, [0, 2, 1, 3]), [headWidth, headWidth, headWidth], -1)
      const [query, key] = [q, k].map((y, j) => {
        const name = `${'qk'[j]}_layernorm`
        return rotate(g, normalises ? at.layerNorm(name, y, headWidth, epsilon) : y, inputs, turns, headWidth, heads)
      }) // biome-ignore format: short
      return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias }))
    })
    return at.linear('dense', mixed, width, width)
  }
  let hidden = model.embedding('embed_tokens', inputs.ids, rows, width)
  for (let i = 0; i < layers; i++) {
    const at = model.in('layers').in(i)
    const x = hidden
    const attended = attention(at.in('self_attn'), i, at.layerNorm('input_layernorm', x, width, epsilon))
    const after = at.run(() => g.add(attended, x))
    const read = at.layerNorm('post_attention_layernorm', after, width, epsilon)
    const fed = gatedFeedForward(at.in('mlp'), feedForward, width, inner, read)
    hidden = at.run(() => g.add(fed, after))
  }
  const last = model.layerNorm('final_layernorm', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', false) ? model.in('embed_tokens').path : undefined
  const language = () => vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, tied }, last)
  return { ...decoderOutputs(c, root, last, inputs.mask, language), ...cache.outputs }
}
