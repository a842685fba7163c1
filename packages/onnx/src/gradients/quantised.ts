import type { Builder } from '../graph/builder.js'
import { GraftError } from '../graph/errors.js'
import { shapeOf } from '../graph/graph.js'
import { intAttribute, type Node, type Value } from '../graph/types.js'
import { numbersOf } from '../format/tensors.js'
import type { GradientRule, GradientTable } from './rule.js'

/** What four bits stand for where no zero point is given: the number less this. */
const middle = 8

/** The blocks of a MatMulNBits node: sizes, and the same bytes as a matrix [N, K] of 4-bit numbers. */
interface Blocks {
  n: number
  k: number
  size: number
  perRow: number
  packed: Value
  scales: Value
}
function blocksOf(g: Builder, node: Node): Blocks {
  const [n, k, size] = ['N', 'K', 'block_size'].map((name) => intAttribute(node, name, 0))
  const [, bytes, scales] = node.inputs as Value[]
  const perRow = Math.ceil(k / size)
  if (intAttribute(node, 'bits', 4) !== 4 || k % size !== 0 || !bytes.data || node.inputs[4])
    throw new GraftError(
      'NO_GRADIENT_RULE',
      `MatMulNBits at ${node.name}: only constant weights of 4 bits in whole blocks, without g_idx, have a gradient rule.`,
    )
  const packed = g.graph.addConstant(`${bytes.name}_matrix`, {
    dtype: 'uint4',
    shape: [n, k],
    data: bytes.data,
  })
  return {
    n,
    k,
    size,
    perRow,
    packed,
    scales: shapeOf(scales).length === 2 ? scales : g.reshape(scales, [n, perRow]),
  }
}

/** The weight [N, K] in float32, from the bytes that the forward product reads. */
export function dequantised(g: Builder, node: Node): Value {
  const blocks = blocksOf(g, node)
  const zeros = node.inputs[3] ? zeroPoints(g, node.inputs[3], blocks) : middles(g, blocks)
  return g.op('DequantizeLinear', [blocks.packed, blocks.scales, zeros], { axis: 1, block_size: blocks.size })
}
const middles = (g: Builder, { n, perRow }: Blocks): Value =>
  packedConstant(g, new Array<number>(n * perRow).fill(middle), [n, perRow])

/** Zero points come with each row padded to whole bytes, or as floats; here they are 4-bit numbers without padding. */
function zeroPoints(g: Builder, given: Value, { n, perRow }: Blocks): Value {
  const values =
    given.data && numbersOf({ dtype: given.dtype, shape: given.shape as readonly number[], data: given.data })
  if (given.dtype !== 'uint8' || !values)
    throw new GraftError(
      'NO_GRADIENT_RULE',
      `${given.name}: zero points that are not packed constants have no gradient rule.`,
    )
  const rowBytes = Math.ceil(perRow / 2)
  const nibbles = Array.from({ length: n * perRow }, (_, i) => {
    const [row, column] = [Math.floor(i / perRow), i % perRow]
    return (values[row * rowBytes + (column >> 1)] >> (4 * (column & 1))) & 15
  })
  return packedConstant(g, nibbles, [n, perRow])
}
function packedConstant(g: Builder, nibbles: readonly number[], shape: readonly number[]): Value {
  const bytes = new Uint8Array(Math.ceil(nibbles.length / 2))
  nibbles.forEach((v, i) => {
    bytes[i >> 1] |= v << (4 * (i & 1))
  })
  return g.graph.addConstant('zero_points', { dtype: 'uint4', shape, data: { bytes } })
}

/**
 * dx = dy·W, W = (q − z)·s per block. Without zero points z is 8 everywhere, and dy·(q·s) − 8·(dy·s), the second product spread over each
 * block, is quicker than dequantising with a tensor of eights.
 */
const matMulNBits: GradientRule = (c) => {
  const { g, node, dy } = c
  const input = () => {
    if (node.inputs[3]) return g.matMul(dy, dequantised(g, node))
    const { packed, scales, size, perRow, k } = blocksOf(g, node)
    const whole = g.matMul(dy, g.op('DequantizeLinear', [packed, scales], { axis: 1, block_size: size }))
    const perBlock = g.scale(g.matMul(dy, scales), middle)
    const leading = shapeOf(dy).slice(0, -1)
    const spread = g.reshape(g.expand(g.unsqueeze(perBlock, [-1]), [...leading, perRow, size]), [
      ...leading,
      k,
    ])
    return g.sub(whole, spread)
  }
  return [input, null, null, null, null, node.inputs[5] ? () => dy : null]
}

export const quantised: GradientTable = { 'com.microsoft::MatMulNBits': matMulNBits }
