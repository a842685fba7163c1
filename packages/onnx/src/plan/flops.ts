import { intAttribute, type Node, type Value, inputOf } from '../graph/types.js'
import { type Bindings, bytesOf, evaluate } from './sizes.js'

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1)
const sizes = (v: Value, bindings: Bindings): number[] =>
  (v.shape ?? []).map((d) => evaluate(d, bindings) ?? 0)

/** Length of the dots that a product of matrices takes, by the left operand. */
const depth: Record<string, (node: Node, left: readonly number[]) => number> = {
  MatMul: (_, left) => left.at(-1) ?? 1,
  Gemm: (node, left) => left.at(intAttribute(node, 'transA', 0) ? -2 : -1) ?? 1,
  'com.microsoft::FusedMatMul': (node, left) => left.at(intAttribute(node, 'transA', 0) ? -2 : -1) ?? 1,
  'com.microsoft::MatMulNBits': (node) => intAttribute(node, 'K', 1),
  'com.microsoft::MatMulIntegerToFloat': (_, left) => (left.at(-1) ?? 1) / integerSpeed,
}
/** How many products of 8-bit integers take the time of one of floats (docs/performance.md). */
const integerSpeed = 3

/** Floating-point operations of a node: two per multiply-add of a product or convolution, one per element of anything else. */
export function flopsOf(node: Node, bindings: Bindings): number {
  const [y] = node.outputs
  if (!y || bytesOf(y, bindings) === 0) return 0
  const out = product(sizes(y, bindings))
  const k = depth[node.op]
  if (k) return 2 * out * k(node, sizes(inputOf(node), bindings))
  if (node.op === 'Conv') return 2 * out * product(sizes(inputOf(node, 1), bindings).slice(1))
  if (node.op === 'Einsum')
    return (
      2 *
      out *
      Math.max(1, product(node.inputs.flatMap((v) => (v ? sizes(v, bindings) : []))) / out ** 2) ** 0.5
    )
  return out
}
