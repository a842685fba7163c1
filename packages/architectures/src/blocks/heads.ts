import { type ArchitectureContext, type Builder, GraftError, shapeOf, type Value } from '@graft-peft/core'
import type { Scope } from './scope.js'

/** Logits per position over the vocabulary; a tied head reads the token embedding (its parameter's path and shape). */
export interface VocabularyHead {
  scope: Scope
  name: string
  width: number
  rows: number
  bias?: boolean
  /** the embedding's path where tie_word_embeddings says so */
  tied?: string
}
export function vocabularyLogits(
  { g, weights }: ArchitectureContext,
  { scope, name, width, rows, bias = false, tied }: VocabularyHead,
  hidden: Value,
): Value {
  if (!tied) return scope.linear(name, hidden, width, rows, bias)
  const at = scope.in(name)
  const table = weights.tied(`${at.path}.weight`, `${tied}.weight`, [rows, width])
  const b = bias ? at.parameter('bias', [rows]) : undefined
  return at.run(() => {
    const logits = g.linear(hidden, table)
    return b ? g.add(logits, b) : logits
  })
}

/** A masked language model's logits; `tied` is the embedding's path where config.json ties both its weight and its bias. */
export function maskedVocabularyLogits(
  { g, weights }: ArchitectureContext,
  { scope, name, width, rows, tied }: VocabularyHead,
  hidden: Value,
): Value {
  const at = scope.in(name)
  const parameter = (own: string, other: string | undefined, shape: readonly number[]) =>
    other ? weights.tied(`${at.path}.${own}`, other, shape) : at.parameter(own, shape)
  const weight = parameter('weight', tied && `${tied}.weight`, [rows, width])
  const bias = parameter('bias', tied && `${scope.path}.bias`, [rows])
  return at.run(() => g.add(g.linear(hidden, weight), bias))
}

/** Keys of transformers' head of multiple choice, which isn't built: they change nothing here. */
export const summaryKeys = [
  'summary_type',
  'summary_use_proj',
  'summary_activation',
  'summary_first_dropout',
  'summary_proj_to_labels',
]

/** [batch, width]: hidden states of each text's first token. */
export const firstToken = (g: Builder, hidden: Value): Value => g.squeeze(g.slice(hidden, 0, 1, 1), [1])

/** [batch, width]: hidden states of each text's last real token, wherever padding lies. */
export function lastToken(g: Builder, hidden: Value, mask: Value): Value {
  const index = g.range(g.squeeze(g.op('Shape', [mask], { start: 1, end: 2 }), [0]))
  // In floating point: GPUs have no ArgMax of integers.
  const real = g.cast(g.greater(mask, g.int(0)), 'float32')
  const last = g.op('ArgMax', [g.mul(real, g.cast(g.add(index, g.int(1)), 'float32'))], {
    axis: 1,
    keepdims: 1,
  })
  return g.op('GatherND', [hidden, last], { batch_dims: 1 })
}

/** [batch, width]: the mean over real tokens. */
export function meanToken(g: Builder, hidden: Value, mask: Value): Value {
  const real = g.unsqueeze(g.cast(g.greater(mask, g.int(0)), 'float32'), [-1])
  return g.div(g.reduceSum(g.mul(hidden, real), [1], false), g.reduceSum(real, [1], false))
}

/** What a bare encoder gives: hidden states, and what its pooler makes of the first token where the checkpoint has one. */
export function bareOutputs(model: Scope, hidden: Value): Record<string, Value> {
  const at = model.in('pooler')
  if (!at.has('dense.weight')) return { hidden }
  const width = shapeOf(hidden)[2] as number
  const dense = at.linear('dense', firstToken(at.g, hidden), width, width)
  return { hidden, pooled: at.run(() => at.g.tanh(dense)) }
}

/**
 * The head of a decoder for what it is built for, on hidden states [batch, sequence, width]. `tokenHead` is what its token classifier
 * is called.
 */
export function decoderOutputs(
  c: ArchitectureContext,
  root: Scope,
  hidden: Value,
  mask: Value,
  language: () => Value,
  tokenHead = 'score',
): Record<string, Value> {
  const width = shapeOf(hidden)[2] as number
  if (c.task === 'features') return { hidden }
  if (c.task === 'causal-lm') return { logits: language() }
  if (c.task === 'token-classification') return { logits: root.head(tokenHead, hidden, width, c.labels) }
  if (c.task === 'sequence-classification')
    return { logits: root.head('score', lastToken(c.g, hidden, mask), width, c.labels, false) }
  throw new GraftError('NO_TASK', `A decoder can't be built for ${c.task}.`)
}
export const decoderTasks = [
  'causal-lm',
  'sequence-classification',
  'token-classification',
  'features',
] as const
