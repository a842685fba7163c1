import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { pooledFirst, transformed } from './blocks/encoder-heads.js'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { bertEmbeddings, encoderInputs, encoderSizes } from './blocks/bert-encoder.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { maskedVocabularyLogits } from './blocks/heads.js'
import { attentionBias } from './blocks/masks.js'
import { rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

const before: readonly [RegExp, string][] = [
  [/(^|\.)layers\./, '$1encoder.layers.'],
  [/embeddings\.LayerNorm/, 'emb_ln'],
  [/self_attn\.o_proj/, 'attn.out_proj'],
  [/self_attn\.Wqkv/, 'attn.Wqkv'],
  [/mlp\.up_proj/, 'mlp.fc11'],
  [/mlp\.gate_proj/, 'mlp.fc12'],
  [/mlp\.down_proj/, 'mlp.fc2'],
  [/post_attention_layernorm/, 'norm1'],
  [/post_mlp_layernorm/, 'norm2'],
]

/** Nomic BERT (Nussbaum et al., 2024, arXiv 2402.01613): gated feed-forward parts, heads that turn. */
export const nomicBert = defineArchitecture({
  name: 'nomic-bert',
  modelTypes: ['nomic_bert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'nomic_bert',
  // As checkpoints have them.
  names: (parameter) => [before.reduce((name, [now, then]) => name.replace(now, then), parameter)],
  unused: (tensor) => /(^|\.)pooler\./.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner, rows, epsilon } = encoderSizes(config)
  const headWidth = config.count('head_dim', Math.floor(width / heads))
  const act = activation(config, 'hidden_act', 'silu')
  const feedForward = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj', bias: false, activation: named(config, 'hidden_act', 'silu') } // biome-ignore format: one line
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'nomic_bert')
  const inputs = encoderInputs(c)
  const { ids, types } = inputs
  const bias = attentionBias(g, inputs, { causal: false })
  const turns = rope(g, config, inputs, { headWidth, theta: 1000 })
  let hidden = bertEmbeddings(c, model.in('embeddings'), { ids, types }, { rows, width, epsilon }, 2)
  for (let i = 0; i < layers; i++) {
    const at = model.in('layers').in(i)
    const x = hidden
    const self = at.in('self_attn')
    const parts = self.linears(['q_proj', 'k_proj', 'v_proj'], 'Wqkv', x, width, heads * headWidth)
    const mixed = self.run(() => {
      const [q, k, value] = parts.map((y) => splitHeads(g, y, heads, headWidth))
      const [query, key] = [q, k].map((y) => rotate(g, y, inputs, turns, headWidth, heads))
      return joinHeads(g, attend(g, { query, key, value }, { bias }))
    })
    const out = self.linear('o_proj', mixed, heads * headWidth, width, false)
    const sum = at.run(() => g.add(x, out))
    const attended = at.layerNorm('post_attention_layernorm', sum, width, epsilon)
    const fed = gatedFeedForward(at.in('mlp'), feedForward, width, inner, attended)
    const both = at.run(() => g.add(attended, fed))
    hidden = at.layerNorm('post_mlp_layernorm', both, width, epsilon)
  }
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification') {
    const pooled = pooledFirst(model.in('pooler'), hidden)
    return { logits: root.head('classifier', pooled, width, c.labels) }
  }
  const head = root.in('cls.predictions')
  const last = transformed(head.in('transform'), hidden, { width, epsilon, act, norm: 'layer_norm' })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return { logits: maskedVocabularyLogits(c, { scope: head, name: 'decoder', width, rows, tied }, last) }
}
