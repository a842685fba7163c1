import type { ArchitectureContext, Settings, Value } from '@graft-peft/core'
import { activation } from './activations.js'
import { attend, joinHeads, splitHeads } from './attention.js'
import { textInputs, type TextInputs } from './inputs.js'
import { attentionBias } from './masks.js'
import type { Scope } from './scope.js'

export interface EncoderSizes {
  width: number
  heads: number
  layers: number
  inner: number
  rows: number
  epsilon: number
}
export const encoderSizes = (config: Settings): EncoderSizes => ({
  width: config.count('hidden_size'),
  heads: config.count('num_attention_heads'),
  layers: config.count('num_hidden_layers'),
  inner: config.count('intermediate_size'),
  rows: config.count('vocab_size'),
  epsilon: config.number('layer_norm_eps', 1e-12),
})

/** A text's tokens, and for each whether it belongs to the first or the second text of a pair. */
export const encoderInputs = (c: ArchitectureContext): TextInputs & { types: Value } => ({
  ...textInputs({ ...c, cache: false }),
  types: c.g.graph.addInput('token_type_ids', 'int64', ['batch', 'sequence']),
})

/** The normed sum of what tokens, their text of a pair (`kinds` of them) and their positions are embedded as. */
export function bertEmbeddings(
  { g, config }: ArchitectureContext,
  at: Scope,
  { ids, types, positions }: { ids: Value; types: Value; positions: Value },
  { rows, width, epsilon }: Pick<EncoderSizes, 'rows' | 'width' | 'epsilon'>,
  kinds: number,
): Value {
  const places = config.count('max_position_embeddings')
  const parts = [
    at.embedding('word_embeddings', ids, rows, width),
    at.embedding('token_type_embeddings', types, config.count('type_vocab_size', kinds), width),
    at.embedding('position_embeddings', positions, places, width),
  ]
  const summed = at.run(() => parts.reduce(g.add))
  return at.layerNorm('LayerNorm', summed, width, epsilon)
}

/** The layers of BERT and RoBERTa: norms after each residual sum. */
export function bertEncoder(
  c: ArchitectureContext,
  encoder: Scope,
  inputs: TextInputs,
  sizes: EncoderSizes,
  embedded: Value,
): Value {
  const { g, config } = c
  const { width, heads, inner, epsilon } = sizes
  const act = activation(config, 'hidden_act', 'gelu')
  const seen = attentionBias(g, inputs, { causal: false })
  const headWidth = Math.floor(width / heads)
  /** A dense layer, the residual sum, a norm. */
  const output = (at: Scope, x: Value, from: number, residual: Value): Value => {
    const dense = at.linear('dense', x, from, width)
    return at.layerNorm(
      'LayerNorm',
      at.run(() => g.add(dense, residual)),
      width,
      epsilon,
    )
  }
  let hidden = embedded
  for (let i = 0; i < sizes.layers; i++) {
    const at = encoder.in('layer').in(i)
    const self = at.in('attention.self')
    const projected = ['query', 'key', 'value'].map((name) => self.linear(name, hidden, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, headWidth))
      return joinHeads(g, attend(g, { query, key, value }, { bias: seen }))
    })
    const attended = output(at.in('attention.output'), mixed, width, hidden)
    const up = at.in('intermediate').linear('dense', attended, width, inner)
    hidden = output(
      at.in('output'),
      at.in('intermediate').run(() => act(g, up)),
      inner,
      attended,
    )
  }
  return hidden
}
