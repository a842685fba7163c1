import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { firstToken, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** transformers' nn.LayerNorm(eps=1e-12) throughout. */
const epsilon = 1e-12

/** DistilBERT (Sanh et al., 2019, arXiv 1910.01108). */
export const distilbert = defineArchitecture({
  name: 'distilbert',
  modelTypes: ['distilbert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'distilbert',
  ignores: ['sinusoidal_pos_embds', 'tie_weights_', 'seq_classif_dropout', 'qa_dropout'],
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers, inner, rows] = ['dim', 'n_heads', 'n_layers', 'hidden_dim', 'vocab_size'].map(
    (key) => config.count(key),
  )
  const act = activation(config, 'activation', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'distilbert')
  const inputs = textInputs({ ...c, cache: false })
  const seen = attentionBias(g, inputs, { causal: false })
  const place = model.in('embeddings')
  const tokens = place.embedding('word_embeddings', inputs.ids, rows, width)
  const places = place.embedding(
    'position_embeddings',
    inputs.positions,
    config.count('max_position_embeddings'),
    width,
  )
  const ties = config.flag('tie_word_embeddings', true)
  let hidden = place.layerNorm(
    'LayerNorm',
    place.run(() => g.add(tokens, places)),
    width,
    epsilon,
  )
  for (let i = 0; i < layers; i++) {
    const at = model.in('transformer.layer').in(i)
    const self = at.in('attention')
    const projected = ['q_lin', 'k_lin', 'v_lin'].map((name) => self.linear(name, hidden, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
      return joinHeads(g, attend(g, { query, key, value }, { bias: seen }))
    })
    const out = self.linear('out_lin', mixed, width, width)
    const attended = at.layerNorm(
      'sa_layer_norm',
      at.run(() => g.add(out, hidden)),
      width,
      epsilon,
    )
    const up = at.in('ffn').linear('lin1', attended, width, inner)
    const fed = at.in('ffn').linear(
      'lin2',
      at.in('ffn').run(() => act(g, up)),
      inner,
      width,
    )
    hidden = at.layerNorm(
      'output_layer_norm',
      at.run(() => g.add(fed, attended)),
      width,
      epsilon,
    )
  }
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification') {
    const dense = root.head('pre_classifier', firstToken(g, hidden), width, width)
    return {
      logits: root.head(
        'classifier',
        root.run(() => g.relu(dense)),
        width,
        c.labels,
      ),
    }
  }
  const dense = root.linear('vocab_transform', hidden, width, width)
  const normed = root.layerNorm(
    'vocab_layer_norm',
    root.run(() => act(g, dense)),
    width,
    epsilon,
  )
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return {
    logits: vocabularyLogits(
      c,
      { scope: root, name: 'vocab_projector', width, rows, bias: true, tied },
      normed,
    ),
  }
}
