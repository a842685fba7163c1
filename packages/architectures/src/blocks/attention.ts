import { type ArchitectureContext, type Builder, type Dim, shapeOf, type Value } from '@graft-peft/core'

/** [batch, sequence, heads·width] → [batch, heads, sequence, width] */
export function splitHeads(g: Builder, x: Value, heads: number, width: number): Value {
  return g.splitHeads(x, heads, width)
}
/** [batch, heads, sequence, width] → [batch, sequence, heads·width] */
export function joinHeads(g: Builder, x: Value): Value {
  return g.joinHeads(x)
}

/**
 * Queries, keys and values, keys built first: the order in which torch has them in GPT-J, OPT, BART and CLIP, and by
 * which methods count that share numbers among layers.
 */
export function keysFirst(project: (name: string) => Value): [query: Value, key: Value, value: Value] {
  const [key, value, query] = ['k_proj', 'v_proj', 'q_proj'].map(project)
  return [query, key, value]
}

export interface Heads {
  /** [batch, heads, sequence, width] */
  query: Value
  /** [batch, key heads, total, width]; key heads divide heads */
  key: Value
  value: Value
}
export interface AttentionOptions {
  /** added to scores, broadcast against [batch, heads, sequence, total] with one head */
  bias?: Value
  /** added to scores too, [batch or 1, heads, sequence or 1, total]; for heads with keys of their own */
  headBias?: Value
  /** of queries · keys; 1/√width when left out */
  scale?: number
  /** scores are squashed into ±softcap by tanh */
  softcap?: number
  /** [heads]: a score beside those of the keys, for a value of zero (gpt-oss) */
  sinks?: Value
}

/**
 * softmax(scale·queries·keysᵀ + bias)·values, [batch, heads, sequence, width]. Queries that share a key head are stacked along the
 * sequence, so keys and values are never repeated (grouped-query attention, Ainslie et al., 2023, arXiv 2305.13245).
 */
export function attend(
  g: Builder,
  { query, key, value }: Heads,
  { bias, headBias, scale, softcap, sinks }: AttentionOptions,
): Value {
  const [batch, heads, sequence, width] = shapeOf(query)
  const [, keyHeads] = shapeOf(key)
  const groups = Number(heads) / Number(keyHeads)
  const grouped =
    groups === 1 ? query : g.op('Reshape', [query, g.ints([0, Number(keyHeads), -1, Number(width)])])
  const raw = g.matMul(grouped, key, { transB: true, alpha: scale ?? 1 / Math.sqrt(Number(width)) })
  const capped = softcap === undefined ? raw : g.scale(g.tanh(g.scale(raw, 1 / softcap)), softcap)
  const scores = [headBias, bias && stacked(g, bias, groups)].reduce<Value>(
    (s, b) => (b ? g.add(s, b) : s),
    capped,
  )
  const mixed = g.matMul(g.softmax(scores), value)
  const perHead = (y: Value, size: Dim) => (groups === 1 ? y : g.reshape(y, [batch, heads, sequence, size]))
  if (!sinks) return perHead(mixed, shapeOf(value)[3])
  // A softmax with one more score is the one without, times σ(log Σ exp − that score).
  const total = perHead(g.op('ReduceLogSumExp', [scores, g.ints([-1])], { keepdims: 1 }), 1)
  const kept = g.sigmoid(g.sub(total, g.reshape(sinks, [1, heads, 1, 1])))
  return g.mul(perHead(mixed, shapeOf(value)[3]), kept)
}

/** A bias for as many stacked queries; layers that share the bias share the stack. */
function stacked(g: Builder, bias: Value, groups: number): Value {
  const copies = new Array<Value>(groups).fill(bias)
  const made = [...bias.users].find(
    (n) => n.op === 'Concat' && n.inputs.length === groups && n.inputs.every((v) => v === bias),
  )
  return (made?.outputs[0] as Value | undefined) ?? g.concat(copies, 2)
}

/** Keys and values seen so far: in generation, past ones come in and all go out, as `past_key_values.N.key` and `present.N.key`. */
export class Cache {
  readonly outputs: Record<string, Value> = {}
  constructor(
    private readonly c: Pick<ArchitectureContext, 'g' | 'cache'>,
    /** before `key` and `value` in names, where there is more than one cache */
    private readonly prefix = '',
    /** how many are past */
    private readonly past = 'past_sequence',
  ) {}

  extend(layer: number, heads: Pick<Heads, 'key' | 'value'>): { key: Value; value: Value } {
    if (!this.c.cache) return heads
    return { key: this.join(layer, 'key', heads.key), value: this.join(layer, 'value', heads.value) }
  }
  private join(layer: number, part: 'key' | 'value', now: Value): Value {
    const { g } = this.c
    const [batch, heads, , width] = shapeOf(now)
    const name = `${layer}.${this.prefix}${part}`
    const past = g.graph.addInput(`past_key_values.${name}`, 'float32', [batch, heads, this.past, width])
    const all = g.concat([past, now], 2)
    this.outputs[`present.${name}`] = all
    return all
  }
}
