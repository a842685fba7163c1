import type { Builder } from '../graph/builder.js'
import { shapeOf } from '../graph/graph.js'
import { intAttribute, type Value } from '../graph/types.js'
import {
  causal,
  type Heads,
  keysBefore,
  lengthOf,
  paddingBias,
  softmaxAttention,
  split,
  joined,
} from './expand-attention.js'
import type { RawNode } from './opset.js'

/** Rewrites a fused operator by operators that have gradient rules; a value per output, null where the output is of no use. */
export type Expansion = (node: RawNode, b: Builder) => (Value | null)[]

const float = (node: RawNode, name: string, otherwise: number): number =>
  (node.attributes[name] as number | undefined) ?? otherwise
const present = (v: Value | null | undefined): v is Value => !!v && !v.shape?.includes(0)
const joinPast = (b: Builder, past: Value | null | undefined, now: Value): Value =>
  present(past) ? b.concat([past, now], 2) : now

/** x + skip (+ bias), normalised; the sum is a further output. */
const skipNorm =
  (op: string, parameters: number): Expansion =>
  (node, b) => {
    const [x, skip, ...rest] = node.inputs as Value[]
    const bias = rest[parameters]
    const sum = bias ? b.add(b.add(x, skip), bias) : b.add(x, skip)
    const scales = rest.slice(0, parameters).filter(Boolean)
    const y = b.op(op, [sum, ...scales], { axis: -1, epsilon: float(node, 'epsilon', 1e-12), stash_type: 1 })
    return [y, null, null, sum]
  }

/** BERT's embeddings: words, positions, segments, their sum normalised; the sum of the mask is a further output. */
const embedNorm: Expansion = (node, b) => {
  const [ids, segments, words, places, types, gamma, beta, mask, positions] = node.inputs as (Value | null)[]
  const index =
    positions ??
    b.expand(
      b.unsqueeze(b.range(b.squeeze(b.op('Shape', [ids], { start: 1, end: 2 }), [0])), [0]),
      shapeOf(ids as Value),
    )
  const whole = (v: Value) => b.cast(v, 'int64')
  const parts = [
    b.gather(words as Value, whole(ids as Value)),
    b.gather(places as Value, whole(index)),
    ...(segments && types ? [b.gather(types, whole(segments))] : []),
  ]
  const sum = parts.reduce(b.add)
  const y = b.op('LayerNormalization', [sum, gamma, beta], {
    axis: -1,
    epsilon: float(node, 'epsilon', 1e-12),
    stash_type: 1,
  })
  return [y, mask ? b.cast(b.reduceSum(b.cast(mask, 'int64'), [1], false), 'int32') : null, sum]
}

/** Rotary embedding as ONNX 23 has it: tables first, positions last; without positions tables hold a row per token. */
const rotary23: Expansion = (node, b) => {
  const [x, cos, sin, positions] = node.inputs as (Value | null)[]
  const heads = intAttribute(node, 'num_heads', 0)
  const width = intAttribute(node, 'rotary_embedding_dim', 0)
  const attributes = {
    interleaved: intAttribute(node, 'interleaved', 0),
    ...(heads ? { num_heads: heads } : {}),
    ...(width ? { rotary_embedding_dim: width } : {}),
  }
  if (positions) return [b.op('com.microsoft::RotaryEmbedding', [x, positions, cos, sin], attributes)]
  // A table per text: rows of all texts one after another, each text beginning at its own.
  const [batch, length, half] = shapeOf(cos as Value)
  const flat = (v: Value | null) => b.op('Reshape', [v, b.ints([-1, Number(half)])])
  const count = b.mul(b.dim(batch), b.dim(length))
  const rows = b.reshape(b.range(b.squeeze(count, [0])), [batch, length])
  return [b.op('com.microsoft::RotaryEmbedding', [x, rows, flat(cos), flat(sin)], attributes)]
}

/** Packed projection of BERT-like models: input·W + b, cut into query, key and value. */
const attention: Expansion = (node, b) => {
  const [x, weight, bias, mask, past, added] = node.inputs as (Value | null)[]
  const count = intAttribute(node, 'num_heads', 0)
  const sizes =
    (node.attributes.qkv_hidden_sizes as readonly number[] | undefined) ??
    Array<number>(3).fill(Number(shapeOf(weight as Value)[1]) / 3)
  const product = b.matMul(x as Value, weight as Value)
  const [q, k, v] = b.split(bias ? b.add(product, bias) : product, sizes, -1)
  const heads: Heads = { query: split(b, q, count), key: split(b, k, count), value: split(b, v, count) }
  const biases = [
    added,
    mask && paddingBias(b, mask, lengthOf(b, k)),
    intAttribute(node, 'unidirectional', 0) ? causal(b, q, k) : null,
  ]
  if (present(past)) throw unsupported(node, 'a past')
  return [joined(b, softmaxAttention(b, heads, biases, float(node, 'scale', 0)))]
}

/** Query, key and value of their own, with bias, masks and past where given. */
const multiHeadAttention: Expansion = (node, b) => {
  const [q, k, v, bias, mask, added, pastKey, pastValue] = node.inputs as (Value | null)[]
  const count = intAttribute(node, 'num_heads', 0)
  if (!k || !v) throw unsupported(node, 'packed query, key and value')
  const width = Number(shapeOf(q as Value).at(-1))
  const [bq, bk, bv] = bias ? b.split(bias, [width, width, Number(shapeOf(bias)[0]) - 2 * width], 0) : []
  const part = (x: Value, own: Value | undefined) =>
    shapeOf(x).length === 4 ? x : split(b, own ? b.add(x, own) : x, count)
  const [key, value] = [joinPast(b, pastKey, part(k, bk)), joinPast(b, pastValue, part(v, bv))]
  const heads: Heads = { query: part(q as Value, bq), key, value }
  const biases = [
    added,
    mask && paddingBias(b, mask, lengthOf(b, key, 2)),
    intAttribute(node, 'unidirectional', 0) ? causal(b, heads.query, key, 2) : null,
  ]
  return [joined(b, softmaxAttention(b, heads, biases, float(node, 'scale', 0))), key, value]
}

/** Grouped keys and values with a cache, causal, rotated here where asked for (onnxruntime-genai's decoders). */
const groupQueryAttention: Expansion = (node, b) => {
  const [q, k, v, pastKey, pastValue, lengths, , cos, sin, positions, added] = node.inputs as (Value | null)[]
  const [count, keyCount] = [intAttribute(node, 'num_heads', 0), intAttribute(node, 'kv_num_heads', 0)]
  const packed = k ? undefined : Number(shapeOf(q as Value).at(-1)) / (count + 2 * keyCount)
  const [query, key0, value0] = packed
    ? b.split(q as Value, [count * packed, keyCount * packed, keyCount * packed], -1)
    : [q as Value, k as Value, v as Value]
  const past = present(pastKey) ? lengthOf(b, pastKey, 2) : b.ints([0])
  const place = positions ?? placesAfter(b, query, past)
  const turned = (x: Value, n: number) => {
    const heads = split(b, x, n)
    if (!intAttribute(node, 'do_rotary', 0)) return heads
    const [half, width] = [Number(shapeOf(cos as Value)[1]), Number(shapeOf(heads)[3])]
    const partial: Record<string, number> =
      2 * half === width ? {} : { rotary_embedding_dim: 2 * half, num_heads: n }
    return b.op('com.microsoft::RotaryEmbedding', [heads, place, cos, sin], {
      interleaved: intAttribute(node, 'rotary_interleaved', 0),
      ...partial,
    })
  }
  const [key, value] = [
    joinPast(b, pastKey, turned(key0, keyCount)),
    joinPast(b, pastValue, split(b, value0, keyCount)),
  ]
  const heads: Heads = { query: turned(query, count), key, value }
  const window = intAttribute(node, 'local_window_size', -1)
  const biases = [
    added,
    causal(b, heads.query, key, 2, window > 0 ? window : undefined),
    lengths && keysBefore(b, lengths, key),
  ]
  return [
    joined(b, softmaxAttention(b, heads, biases, float(node, 'scale', 0), float(node, 'softcap', 0))),
    key,
    value,
  ]
}
/** [batch, sequence]: positions that go on after a past. */
function placesAfter(b: Builder, x: Value, past: Value): Value {
  const [batch, sequence] = shapeOf(x)
  return b.expand(b.unsqueeze(b.add(b.range(b.squeeze(lengthOf(b, x), [0])), past), [0]), [batch, sequence])
}

/** A product and the activation after it, as ONNX Runtime's optimiser joins them. */
const fusedGemm: Expansion = (node, b) => {
  const { activation, activation_alpha, ...attributes } = node.attributes
  const plain = ['Relu', 'Sigmoid', 'Tanh', 'LeakyRelu', 'Elu', 'Softplus', 'Gelu']
  if (!plain.includes(String(activation))) throw unsupported(node, `activation ${String(activation)}`)
  const product = b.op('Gemm', node.inputs, attributes)
  return [
    b.op(String(activation), [product], activation_alpha === undefined ? {} : { alpha: activation_alpha }),
  ]
}

/** ONNX 23's own attention. */
const attention23: Expansion = (node, b) => {
  const [q, k, v, mask, pastKey, pastValue] = node.inputs as (Value | null)[]
  const flat = shapeOf(q as Value).length === 3
  const [count, keyCount] = [intAttribute(node, 'q_num_heads', 0), intAttribute(node, 'kv_num_heads', 0)]
  const part = (x: Value, n: number) => (flat ? split(b, x, n) : x)
  const [key, value] = [
    joinPast(b, pastKey, part(k as Value, keyCount)),
    joinPast(b, pastValue, part(v as Value, keyCount)),
  ]
  const heads: Heads = { query: part(q as Value, count), key, value }
  const seen =
    mask && mask.dtype === 'bool' ? b.where(mask, b.scalar(0), b.scalar(-3.4028234663852886e38)) : mask
  const biases = [seen, intAttribute(node, 'is_causal', 0) ? causal(b, heads.query, key, 2) : null]
  const y = softmaxAttention(b, heads, biases, float(node, 'scale', 0), float(node, 'softcap', 0))
  return [flat ? joined(b, y) : y, key, value]
}

function unsupported(node: RawNode, what: string): Error {
  return new Error(`${node.op} with ${what} can't be expanded; export the model without it`)
}

/** Concatenation with nothing is the other part: a cache that was taken away leaves such. */
const concat: Expansion = (node, b) => {
  const axis = intAttribute(node, 'axis', 0)
  const parts = (node.inputs as Value[]).filter((v) => v.shape?.at(axis) !== 0)
  return [
    parts.length === 1 ? parts[0] : b.op('Concat', parts.length > 0 ? parts : node.inputs, node.attributes),
  ]
}
const hasEmptyPart = ({ inputs, attributes }: RawNode): boolean =>
  inputs.some((v) => v?.shape?.at(intAttribute({ attributes }, 'axis', 0)) === 0)

/** Fused operators, by name, that are taken apart on the way in. */
const expansions: Readonly<Record<string, Expansion>> = {
  'com.microsoft::SkipLayerNormalization': skipNorm('LayerNormalization', 2),
  'com.microsoft::SkipSimplifiedLayerNormalization': skipNorm('SimplifiedLayerNormalization', 1),
  'com.microsoft::EmbedLayerNormalization': embedNorm,
  'com.microsoft::Attention': attention,
  'com.microsoft::MultiHeadAttention': multiHeadAttention,
  'com.microsoft::GroupQueryAttention': groupQueryAttention,
  'com.microsoft::FusedGemm': fusedGemm,
  RotaryEmbedding: rotary23,
  Attention: attention23,
}
export const expansionOf = (node: RawNode): Expansion | undefined =>
  expansions[node.op] ?? (node.op === 'Concat' && hasEmptyPart(node) ? concat : undefined)
