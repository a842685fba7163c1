import {
  type Builder,
  differentiate,
  dtypes,
  intAttribute,
  is,
  type Node,
  shapeOf,
  type TensorData,
  type Value,
  inputOf,
  outputOf,
} from '@graft-peft/onnx'
import type { RowHead } from './head.js'

/** The loss of some rows and its gradient, made without ever holding logits of the whole vocabulary. */
export interface RowsLoss {
  /** −log p of each row's target, [rows, 1] */
  perRow: Value
  /** gradient of the summed loss with respect to the rows, [rows, width] */
  dHidden: Value
  /** most likely token of each row */
  predictions: Value
}

/** A head that is one product with a frozen matrix [vocabulary, width], and functions of single logits after it. */
interface BlockHead {
  product: Node
  after: readonly Node[]
  vocabulary: number
}

/** The head as blocks can compute it; undefined where it is trained, or its matrix doesn't lie row by row. */
export function blockHead({
  nodes: [product, ...after],
  parameters,
  logits,
}: RowHead): BlockHead | undefined {
  const weight = inputOf(product, 1)
  const vocabulary = shapeOf(logits).at(-1) as number
  const inside = new Set([product, ...after])
  const constants = [product, ...after].flatMap((n) =>
    n.inputs
      .slice(n === product ? 1 : 0)
      .filter((v): v is Value => !!v && !(v.producer && inside.has(v.producer))),
  )
  const fits =
    is(product.op, 'product') &&
    product.attributes.transB === 1 &&
    shapeOf(weight)[0] === vocabulary &&
    !product.inputs[2] &&
    stored(weight)
  if (
    !fits ||
    parameters.length > 0 ||
    !after.every((n) => is(n.op, 'elementwise')) ||
    !constants.every((v) => perLogit(v, vocabulary) || v === weight)
  )
    return undefined
  return { product, after, vocabulary }
}

/** A constant that is one number, or one per token. */
const perLogit = (v: Value, vocabulary: number): boolean =>
  !!stored(v) &&
  shapeOf(v).every((d, i, all) => d === 1 || (d === vocabulary && i === all.length - 1 && all.length === 1))
/** The stored tensor behind a constant or a cast constant. */
const stored = (v: Value): Value | undefined =>
  v.data ? v : v.producer?.op === 'Cast' && v.producer.inputs[0]?.data ? v.producer.inputs[0] : undefined

/** Rows start … end of a constant, read where they lie. */
function rowsOf(g: Builder, v: Value, start: number, end: number): Value {
  const whole = stored(v) as Value
  const [count, ...rest] = shapeOf(whole) as number[]
  if (count === undefined || count === 1 || end - start === count) return v
  const bytes = dtypes[whole.dtype].bytes * rest.reduce((a, b) => a * b, 1)
  const data = whole.data as TensorData
  const part: TensorData =
    'bytes' in data
      ? { bytes: data.bytes.subarray(start * bytes, end * bytes) }
      : { file: data.file, offset: data.offset + start * bytes, length: (end - start) * bytes }
  return g.cast(
    g.graph.addConstant(`${whole.name}:${start}`, {
      dtype: whole.dtype,
      shape: [end - start, ...rest],
      data: part,
    }),
    v.dtype,
  )
}

/** Applies the functions after the product, with their constants as `of` makes them. */
function finishLogits(
  g: Builder,
  { product, after }: BlockHead,
  logits: Value,
  of: (constant: Value) => Value,
): Value {
  const made = new Map([[product.outputs[0], logits]])
  for (const node of after) {
    const inputs = node.inputs.map((v) => v && (made.get(v) ?? of(v)))
    made.set(node.outputs[0], g.op(node.op, inputs, node.attributes))
  }
  return g.cast(made.get((after.at(-1) ?? product).outputs[0]) as Value, 'float32')
}

/**
 * Cross entropy over blocks of the vocabulary. With lᵥ the logits, each block c gives its own log-sum Lc,
 * soft-max and gradient
 * Gc = Σ softmax(l)ᵥ ∂lᵥ/∂h; then L = log Σ exp Lc, the loss is L − l_target and its gradient Σ exp(Lc −
 * L)·Gc − ∂l_target/∂h: the recurrence of online soft-max (Milakov and Gimelshein, 2018, arXiv 1805.02867)
 * with the blocks independent.
 */
export function blockLoss(
  g: Builder,
  head: BlockHead,
  hidden: Value,
  targets: Value,
  count: number,
): RowsLoss {
  const size = Math.ceil(head.vocabulary / count)
  const starts = Array.from({ length: Math.ceil(head.vocabulary / size) }, (_, k) => k * size)
  const weight = inputOf(head.product, 1)
  const parts = starts.map((start) => ({
    start,
    weight: rowsOf(g, weight, start, Math.min(start + size, head.vocabulary)),
  }))
  if (parts.length > 1) lookUpInParts(g, stored(weight) as Value, parts)
  const blocks = parts.map((part) => oneBlock(g, head, hidden, part))
  const target = targetLogit(g, head, hidden, { targets, rows: rowsAt(g, parts, targets) })
  const best = g.op('ArgMax', [columns(g, blocks, 'greatest')], { axis: 1, keepdims: 1 })
  return {
    perRow: g.sub(logSumExp(g, columns(g, blocks, 'logSum')), target.logit),
    dHidden: g.sub(folded(g, blocks, shapeOf(hidden)[1] as number), target.gradient),
    predictions: g.squeeze(g.op('GatherElements', [columns(g, blocks, 'at'), best], { axis: 1 }), [1]),
  }
}

/** Consecutive rows of the head's matrix. */
interface Part {
  start: number
  weight: Value
}
/**
 * Rows of a matrix by their numbers, read from its parts: as a constant of its own the whole would take
 * memory a second time.
 */
function rowsAt(g: Builder, parts: readonly Part[], ids: Value): Value {
  const found = parts.map(({ start, weight }) => {
    const local = g.sub(ids, g.int(start))
    const within = g.op('Clip', [local, g.int(0), g.int((shapeOf(weight)[0] as number) - 1)])
    return g.mul(g.gather(weight, within), g.unsqueeze(g.cast(g.equal(local, within), weight.dtype), [-1]))
  })
  return found.reduce(g.add)
}
/** An input embedding tied to the head reads the head's parts. */
function lookUpInParts(g: Builder, matrix: Value, parts: readonly Part[]): void {
  const readers = [...matrix.users].flatMap((n) => (n.op === 'Cast' ? [...outputOf(n).users] : [n]))
  for (const node of readers) {
    if (node.op !== 'Gather' || stored(inputOf(node)) !== matrix || intAttribute(node, 'axis', 0) !== 0)
      continue
    const rows = g.graph.within(node.scope, () => rowsAt(g, parts, inputOf(node, 1)))
    g.graph.replaceUses(outputOf(node), rows)
  }
}

interface Block {
  /** log Σ exp of the block's logits, [rows, 1] */
  logSum: Value
  /** Σ softmax·∂logit/∂h over the block, [rows, width] */
  gradient: Value
  greatest: Value
  /** token of the greatest logit */
  at: Value
}
const columns = (g: Builder, blocks: readonly Block[], part: 'logSum' | 'greatest' | 'at'): Value =>
  g.concat(
    blocks.map((b) => b[part]),
    1,
  )
const logSumExp = (g: Builder, v: Value): Value => g.op('ReduceLogSumExp', [v, g.ints([1])], { keepdims: 1 })

function oneBlock(g: Builder, head: BlockHead, hidden: Value, { start, weight }: Part): Block {
  const end = start + (shapeOf(weight)[0] as number)
  const product = g.op(head.product.op, [hidden, weight], head.product.attributes)
  const logits = finishLogits(g, head, product, (v) => rowsOf(g, v, start, end))
  const p = g.softmax(logits)
  const sum = g.sumAll(logits)
  const [gradient] = differentiate(g, sum, [hidden], new Map([[sum, new Map([[logits, p]])]]))
  // log Σ exp l = max l − log max p. Of two producers ONNX Runtime runs the later one first: the log-sum
  // before the gradient, and for it the logits are read before the soft-max is written over them.
  const most = g.log(g.reduce('ReduceMax', p, [-1], true))
  const greatest = g.reduce('ReduceMax', logits, [-1], true)
  const at = g.op('ArgMax', [logits], { axis: -1, keepdims: 1 })
  return { logSum: g.sub(greatest, most), gradient, greatest, at: g.add(at, g.int(start)) }
}

/**
 * The gradient over all blocks, taken in one after the other. Each log-sum travels with its gradient, and of
 * two producers ONNX Runtime runs the later one first: what has been taken in is made after the next block,
 * so only one block is alive at a time.
 */
function folded(g: Builder, blocks: readonly Block[], width: number): Value {
  const joined = blocks.map(({ gradient, logSum }) => g.concat([gradient, logSum], 1))
  const parts = (v: Value) => ({ gradient: g.slice(v, 0, width, 1), logSum: g.slice(v, width, width + 1, 1) })
  const all = joined.reduce((before, next) => {
    const [b, a] = [parts(next), parts(before)]
    const logSum = logSumExp(g, g.concat([b.logSum, a.logSum], 1))
    const [right, left] = [b, a].map((part) => g.mul(part.gradient, g.exp(g.sub(part.logSum, logSum))))
    return g.concat([g.add(left, right), logSum], 1)
  })
  return parts(all).gradient
}

/** The logit of each row's target, and its gradient: one dot product per row. */
function targetLogit(
  g: Builder,
  head: BlockHead,
  hidden: Value,
  { targets, rows }: { targets: Value; rows: Value },
): { logit: Value; gradient: Value } {
  const alpha = Number(head.product.attributes.alpha ?? 1)
  const dots = g.reduceSum(g.mul(hidden, rows), [-1])
  const column = (v: Value) =>
    shapeOf(v)[0] === head.vocabulary ? g.unsqueeze(g.gather(v, targets), [-1]) : v
  const logit = finishLogits(g, head, g.scale(dots, alpha), column)
  const [gradient] = differentiate(g, g.sumAll(logit), [hidden])
  return { logit, gradient }
}
