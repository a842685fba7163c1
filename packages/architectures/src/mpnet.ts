import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { firstTokenLabels, transformed } from './blocks/encoder-heads.js'
import { activation, gelu } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { encoderSizes } from './blocks/bert-encoder.js'
import { maskedVocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { distanceBias } from './blocks/relative-positions.js'
import { Scope } from './blocks/scope.js'
import { countedPositions } from './roberta.js'

/** What transformers' MPNet takes for padding, whatever config.json says. */
const padding = 1

/** MPNet (Song et al., 2020, arXiv 2004.09297): all-mpnet-base-v2, with positions and biases by distance. */
export const mpnet = defineArchitecture({
  name: 'mpnet',
  modelTypes: ['mpnet'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'mpnet',
  unused: (tensor) => /(^|\.)pooler\./.test(tensor),
  positions: (config) => config.count('max_position_embeddings') - padding - 1,
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner, rows, epsilon } = encoderSizes(config)
  const act = activation(config, 'hidden_act', 'gelu')
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'mpnet')
  const inputs = textInputs({ ...c, cache: false })
  const seen = attentionBias(g, inputs, { causal: false })
  const distances = distanceBias(c, model.in('encoder.relative_attention_bias'), heads, inputs.sequence, {
    bidirectional: true,
  })
  const place = model.in('embeddings')
  const tokens = place.embedding('word_embeddings', inputs.ids, rows, width)
  const counted = countedPositions(g, inputs.ids, padding)
  const places = place.embedding(
    'position_embeddings',
    counted,
    config.count('max_position_embeddings'),
    width,
  )
  const summed = (at: Scope, a: Value, b: Value) =>
    at.layerNorm(
      'LayerNorm',
      at.run(() => g.add(a, b)),
      width,
      epsilon,
    )
  let hidden = summed(place, tokens, places)
  for (let i = 0; i < layers; i++) {
    const at = model.in('encoder.layer').in(i)
    const self = at.in('attention.attn')
    const projected = ['q', 'k', 'v'].map((name) => self.linear(name, hidden, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
      return joinHeads(g, attend(g, { query, key, value }, { bias: seen, headBias: distances }))
    })
    const attended = summed(at.in('attention'), self.linear('o', mixed, width, width), hidden)
    const up = at.in('intermediate').linear('dense', attended, width, inner)
    const activated = at.in('intermediate').run(() => act(g, up))
    hidden = summed(at.in('output'), at.in('output').linear('dense', activated, inner, width), attended)
  }
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification')
    return { logits: firstTokenLabels(root.in('classifier'), hidden, c.labels) }
  const head = root.in('lm_head')
  const normed = transformed(head, hidden, { width, epsilon, act: gelu, norm: 'layer_norm' })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return { logits: maskedVocabularyLogits(c, { scope: head, name: 'decoder', width, rows, tied }, normed) }
}
