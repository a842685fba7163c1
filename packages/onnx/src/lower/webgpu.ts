import { numbersOf } from '../format/tensors.js'
import { Builder } from '../graph/builder.js'
import { productOf } from '../graph/dim.js'
import { type Graph, shapeOf } from '../graph/graph.js'
import { intAttribute, type Node, type Value, outputOf } from '../graph/types.js'
import { narrowIntegers } from './integers.js'
import { type Lowering, replaceNodes } from './replace.js'

const attribute = (node: Node, name: string, otherwise: number): number =>
  (node.attributes[name] as number | undefined) ?? otherwise

/** Matrices go to Gemm, which reads either operand transposed; of batches the smaller part, the activations, is transposed beforehand. */
const product: Lowering = (node, g) => {
  const [a, b] = node.inputs as Value[]
  const flags = {
    transA: intAttribute(node, 'transA', 0),
    transB: intAttribute(node, 'transB', 0),
    alpha: attribute(node, 'alpha', 1),
  }
  const [left, right] = [shapeOf(a), shapeOf(b)]
  if (left.length === 2 && right.length === 2) return [g.op('Gemm', [a, b], flags)]
  if (right.length === 2 && !flags.transA) {
    const rows = g.reshape(a, [productOf(left.slice(0, -1)), left[left.length - 1]])
    return [g.reshape(g.op('Gemm', [rows, b], flags), shapeOf(outputOf(node)))]
  }
  return [g.scale(g.matMul(flags.transA ? g.swapLast(a) : a, flags.transB ? g.swapLast(b) : b), flags.alpha)]
}

/** WebGPU's kernel gives a wrong inverse deviation; where that is read the norm is spelt out. */
const rmsNorm: Lowering = (node, g) => {
  const [x, scale] = node.inputs as Value[]
  if (!node.outputs[1]) return undefined
  const rank = shapeOf(x).length
  const first = (intAttribute(node, 'axis', -1) + rank) % rank
  const axes = Array.from({ length: rank - first }, (_, i) => first + i)
  const inverse = g.reciprocal(
    g.sqrt(g.add(g.reduceMean(g.square(x), axes), g.scalar(attribute(node, 'epsilon', 1e-5)))),
  )
  return [g.mul(g.mul(x, inverse), scale), inverse]
}

const logSoftmax: Lowering = (node, g) => {
  const [x] = node.inputs as Value[]
  return [g.sub(x, g.op('ReduceLogSumExp', [x, g.ints([intAttribute(node, 'axis', -1)])], { keepdims: 1 }))]
}
const sign: Lowering = (node, g) => {
  const [x] = node.inputs as Value[]
  const [zero, one] = [g.scalar(0, x), g.scalar(1, x)]
  return [g.where(g.greater(x, zero), one, g.where(g.less(x, zero), g.neg(one), g.mul(x, zero)))]
}
const sum: Lowering = ({ inputs }, g) => (inputs.length > 1 ? [(inputs as Value[]).reduce(g.add)] : undefined)
const mean: Lowering = ({ inputs }, g) =>
  inputs.length > 1 ? [g.scale((inputs as Value[]).reduce(g.add), 1 / inputs.length)] : undefined
/** Truth values as numbers: 0 and 1. */
const truth =
  (op: 'Add' | 'Mul'): Lowering =>
  ({ inputs }, g) => [
    g.cast(
      g.op(
        op,
        inputs.map((v) => g.cast(v as Value, 'int32')),
      ),
      'bool',
    ),
  ]

/** Picks of truth values and small whole numbers go by way of floats, which hold them exactly. */
const pick: Lowering = (node, g) => {
  const [data, indices] = node.inputs as Value[]
  if (data.dtype !== 'int32' && data.dtype !== 'bool') return undefined
  return [g.cast(g.op(node.op, [g.cast(data, 'float32'), indices], node.attributes), data.dtype)]
}
/** A stored list of positions, pairs by column, is turned round here. */
const transposed: Lowering = (node, g) => {
  const [{ data, dtype, shape, name }] = node.inputs as Value[]
  if (!data || dtype !== 'int64' || shape?.length !== 2) return undefined
  const [rows, columns] = shape as number[]
  const from = numbersOf({ dtype, shape: [rows, columns], data }) as number[]
  const to = BigInt64Array.from(from, (_, i) => BigInt(from[(i % rows) * columns + Math.floor(i / rows)]))
  return [
    g.graph.addConstant(name, { dtype, shape: [columns, rows], data: { bytes: new Uint8Array(to.buffer) } }),
  ]
}

/** What ONNX Runtime's WebGPU provider has no kernel for (or a wrong one), by kernels it has. */
const lowerings: Readonly<Record<string, Lowering>> = {
  'com.microsoft::FusedMatMul': product,
  SimplifiedLayerNormalization: rmsNorm,
  LogSoftmax: logSoftmax,
  Sign: sign,
  Sum: sum,
  Mean: mean,
  Or: truth('Add'),
  And: truth('Mul'),
  GatherElements: pick,
  GatherND: pick,
  Transpose: transposed,
}

/**
 * The graph as WebGPU computes it, so that nothing but arithmetic on shapes is left to the CPU: integers become 32 bits wide,
 * inputs among them, and operators without a kernel are spelt by others. Values stay what they were but for rounding.
 */
export function lowerForWebgpu(original: Graph): Graph {
  const { graph } = original.clone()
  const g = new Builder(graph)
  narrowIntegers(g)
  replaceNodes(g, (node) => lowerings[node.op]?.(node, g))
  graph.prune()
  return graph
}
