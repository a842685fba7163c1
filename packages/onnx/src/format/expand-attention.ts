import type { Builder } from '../graph/builder.js'
import { shapeOf } from '../graph/graph.js'
import type { Value } from '../graph/types.js'

/** [batch, heads, sequence, width] each; key and value may have fewer heads, which divide the query's. */
export interface Heads {
  query: Value
  key: Value
  value: Value
}

/** [batch, sequence, heads·width] → [batch, heads, sequence, width] */
export function split(b: Builder, x: Value, heads: number): Value {
  return b.splitHeads(x, heads, Number(shapeOf(x)[2]) / heads)
}
/** [batch, heads, sequence, width] → [batch, sequence, heads·width] */
export function joined(b: Builder, x: Value): Value {
  return b.joinHeads(x)
}
/** A value's size along an axis, as a vector of one number. */
export const lengthOf = (b: Builder, x: Value, axis = 1): Value =>
  b.op('Shape', [x], { start: axis, end: axis + 1 })

/** softmax(scale·q·kᵀ + biases)·v; a scale of 0 means 1/√width, a softcap of 0 none. */
export function softmaxAttention(
  b: Builder,
  { query, key, value }: Heads,
  biases: readonly (Value | null | undefined)[],
  scale: number,
  softcap = 0,
): Value {
  const [batch, heads, sequence, width] = shapeOf(query)
  const [, keyHeads, total] = shapeOf(key)
  const groups = Number(heads) / Number(keyHeads)
  const grouped =
    groups === 1 ? query : b.op('Reshape', [query, b.ints([0, Number(keyHeads), -1, Number(width)])])
  const raw = b.matMul(grouped, key, { transB: true, alpha: scale || 1 / Math.sqrt(Number(width)) })
  const perHead = groups === 1 ? raw : b.reshape(raw, [batch, heads, sequence, total])
  const capped = softcap === 0 ? perHead : b.scale(b.tanh(b.scale(perHead, 1 / softcap)), softcap)
  const scores = biases.reduce<Value>((s, bias) => (bias ? b.add(s, bias) : s), capped)
  const probabilities = b.softmax(scores)
  const mixed = b.matMul(groups === 1 ? probabilities : b.reshape(probabilities, shapeOf(raw)), value)
  return groups === 1 ? mixed : b.reshape(mixed, [batch, heads, sequence, shapeOf(value)[3]])
}

const never = -3.4028234663852886e38
const zeroWhere = (b: Builder, seen: Value): Value => b.where(seen, b.scalar(0), b.scalar(never))
const upTo = (b: Builder, length: Value): Value => b.range(b.squeeze(length, [0]))

/** [sequence, total]: zero where a key is not later than its query (the last keys are the queries' own), and less than `window` before it. */
export function causal(b: Builder, query: Value, key: Value, axis = 1, window?: number): Value {
  const [sequence, total] = [lengthOf(b, query, axis), lengthOf(b, key, axis)]
  const queries = b.unsqueeze(b.add(upTo(b, sequence), b.sub(total, sequence)), [1])
  const distance = b.sub(queries, upTo(b, total))
  const seen = b.op('GreaterOrEqual', [distance, b.int(0)])
  return zeroWhere(b, window === undefined ? seen : b.op('And', [seen, b.less(distance, b.int(window))]))
}
/** [batch, 1, 1, total]: zero for the first keys of each text; `lengths` holds how many there are, less one. */
export function keysBefore(b: Builder, lengths: Value, key: Value): Value {
  const last = b.op('Reshape', [b.cast(lengths, 'int64'), b.ints([-1, 1, 1, 1])])
  return zeroWhere(b, b.lessOrEqual(upTo(b, lengthOf(b, key, 2)), last))
}
/** A mask as attention operators take it: [batch, total] of ones and zeros, or [batch] of lengths. */
export function paddingBias(b: Builder, mask: Value, total: Value): Value {
  const whole = b.cast(mask, 'int64')
  const rank = shapeOf(mask).length
  if (rank === 1) return zeroWhere(b, b.less(upTo(b, total), b.op('Reshape', [whole, b.ints([-1, 1, 1, 1])])))
  return zeroWhere(b, b.greater(rank === 2 ? b.unsqueeze(whole, [1, 2]) : b.unsqueeze(whole, [1]), b.int(0)))
}
