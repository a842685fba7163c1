import type { ArchitectureContext, Settings, Value } from '@graft-peft/core'
import { type LayerSizes, layerSizes } from './sizes.js'
import { activation } from './activations.js'
import { attend, joinHeads, splitHeads } from './attention.js'
import { textInputs, type TextInputs } from './inputs.js'
import { attentionBias } from './masks.js'
import type { Scope } from './scope.js'

export interface EncoderSizes extends LayerSizes {
  rows: number
  epsilon: number
}
export const encoderSizes = (config: Settings): EncoderSizes => ({
  ...layerSizes(config),
  rows: config.count('vocab_size'),
  epsilon: config.number('layer_norm_eps', 1e-12),
})

/** A text's tokens, and for each whether it belongs to the first or the second text of a pair. */
export const encoderInputs = (c: ArchitectureContext): TextInputs & { types: Value } => ({
  ...textInputs({ ...c, cache: false }),
  types: c.g.graph.addInput('token_type_ids', 'int64', ['batch', 'sequence']),
})

/** What some of BERT's kin do differently. */
export interface BertVariant {
  /** norms of what attention and feed-forward read, by their paths in a layer, instead of norms of the sums after them */
  before?: { attention: string; feed: string }
  /** a norm of the last states, by its path in the model */
  lastNorm?: string
  /** whether embeddings aren't normed */
  bare?: boolean
  /** turns heads by their positions */
  turn?: (at: Scope, heads: Value, part: 'query' | 'key' | 'value') => Value
}

interface Embedded {
  ids: Value
  types: Value
  /** left out where positions aren't embedded */
  positions?: Value
}
/** The normed sum of what tokens, their text of a pair (`kinds` of them) and their positions are embedded as. */
export function bertEmbeddings(
  { g, config }: ArchitectureContext,
  at: Scope,
  { ids, types, positions }: Embedded,
  { rows, width, epsilon }: Pick<EncoderSizes, 'rows' | 'width' | 'epsilon'>,
  kinds: number,
  more: { bare?: boolean; others?: readonly Value[] } = {},
): Value {
  const places = config.count('max_position_embeddings')
  const parts = [
    at.embedding('word_embeddings', ids, rows, width),
    at.embedding('token_type_embeddings', types, config.count('type_vocab_size', kinds), width),
    ...(positions ? [at.embedding('position_embeddings', positions, places, width)] : []),
    ...(more.others ?? []),
  ]
  const summed = at.run(() => parts.reduce(g.add))
  return more.bare ? summed : at.layerNorm('LayerNorm', summed, width, epsilon)
}

/** A module by a dotted path. */
const within = (at: Scope, path: string): [Scope, string] => {
  const cut = path.lastIndexOf('.')
  return cut < 0 ? [at, path] : [at.in(path.slice(0, cut)), path.slice(cut + 1)]
}
export const normAt = (at: Scope, path: string, x: Value, width: number, epsilon: number): Value => {
  const [place, name] = within(at, path)
  return place.layerNorm(name, x, width, epsilon)
}

/** The layers of BERT and RoBERTa: norms after each residual sum, or before what is added to it. */
export function bertEncoder(
  c: ArchitectureContext,
  encoder: Scope,
  inputs: TextInputs,
  sizes: EncoderSizes,
  embedded: Value,
  { before, turn = (_, heads) => heads }: BertVariant = {},
): Value {
  const { g, config } = c
  const { width, heads, inner, epsilon } = sizes
  const act = activation(config, 'hidden_act', 'gelu')
  const seen = attentionBias(g, inputs, { causal: false })
  const headWidth = Math.floor(width / heads)
  /** A dense layer, the residual sum, a norm. */
  const output = (at: Scope, x: Value, from: number, residual: Value): Value => {
    const dense = at.linear('dense', x, from, width)
    const sum = at.run(() => g.add(dense, residual))
    return before ? sum : at.layerNorm('LayerNorm', sum, width, epsilon)
  }
  let hidden = embedded
  for (let i = 0; i < sizes.layers; i++) {
    const at = encoder.in('layer').in(i)
    const read = before ? normAt(at, before.attention, hidden, width, epsilon) : hidden
    const self = at.in('attention.self')
    const parts = ['query', 'key', 'value'] as const
    const projected = parts.map((name) => self.linear(name, read, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y, j) =>
        turn(self, splitHeads(g, y, heads, headWidth), parts[j]),
      )
      return joinHeads(g, attend(g, { query, key, value }, { bias: seen }))
    })
    const attended = output(at.in('attention.output'), mixed, width, hidden)
    const next = before ? normAt(at, before.feed, attended, width, epsilon) : attended
    const up = at.in('intermediate').linear('dense', next, width, inner)
    hidden = output(
      at.in('output'),
      at.in('intermediate').run(() => act(g, up)),
      inner,
      attended,
    )
  }
  return hidden
}
