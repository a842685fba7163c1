import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { pooledFirst, transformed } from './blocks/encoder-heads.js'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { bertEmbeddings, encoderInputs, encoderSizes } from './blocks/bert-encoder.js'
import { maskedVocabularyLogits } from './blocks/heads.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** ALBERT (Lan et al., 2020, arXiv 1909.11942): narrow embeddings, layers that share their weights in groups. */
export const albert = defineArchitecture({
  name: 'albert',
  modelTypes: ['albert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'albert',
  ignores: ['net_structure_type', 'num_memory_blocks', 'gap_size', 'down_scale_factor', 'summary_type'],
  unused: (tensor, task) =>
    /^(sop_classifier|predictions)\./.test(tensor) ||
    (task !== 'sequence-classification' && /(^|\.)pooler\./.test(tensor)),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner, rows, epsilon } = encoderSizes(config)
  const narrow = config.count('embedding_size', 128)
  const [groups, within] = [config.count('num_hidden_groups', 1), config.count('inner_group_num', 1)]
  const act = activation(config, 'hidden_act', 'gelu_new')
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'albert')
  const inputs = encoderInputs(c)
  const seen = attentionBias(g, inputs, { causal: false })
  const embedded = bertEmbeddings(c, model.in('embeddings'), inputs, { rows, width: narrow, epsilon }, 2)
  const layer = (at: Scope, x: Value): Value => {
    const self = at.in('attention')
    const projected = ['query', 'key', 'value'].map((name) => self.linear(name, x, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
      return joinHeads(g, attend(g, { query, key, value }, { bias: seen }))
    })
    const dense = self.linear('dense', mixed, width, width)
    const sum = self.run(() => g.add(x, dense))
    const attended = self.layerNorm('LayerNorm', sum, width, epsilon)
    const up = at.linear('ffn', attended, width, inner)
    const activated = at.run(() => act(g, up))
    const fed = at.linear('ffn_output', activated, inner, width)
    const out = at.run(() => g.add(fed, attended))
    return at.layerNorm('full_layer_layer_norm', out, width, epsilon)
  }
  const encoder = model.in('encoder')
  let hidden = encoder.linear('embedding_hidden_mapping_in', embedded, narrow, width)
  for (let i = 0; i < layers; i++) {
    const group = encoder.in('albert_layer_groups').in(Math.floor(i / (layers / groups)))
    for (let j = 0; j < within; j++) hidden = layer(group.in('albert_layers').in(j), hidden)
  }
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification') {
    const pooled = pooledFirst(model, hidden, undefined, 'pooler')
    return { logits: root.head('classifier', pooled, width, c.labels) }
  }
  const head = root.in('predictions')
  const normed = transformed(head, hidden, { width: narrow, epsilon, act })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return {
    logits: maskedVocabularyLogits(c, { scope: head, name: 'decoder', width: narrow, rows, tied }, normed),
  }
}
