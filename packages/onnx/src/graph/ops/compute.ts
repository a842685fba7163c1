import {
  broadcastShapes,
  type Dim,
  floorDivide,
  formula,
  multiplyDims,
  type Shape,
  subtractDims,
  addDims,
} from '../dim.js'
import { many, type OpSpec, type OpTable, type OpView, type Typed } from './spec.js'

const like = (n: OpView, shape: Shape | null): Typed[] => [{ dtype: n.input(0).dtype, shape }]

function swapLast(dims: Shape): Dim[] {
  return [...dims.slice(0, -2), dims[dims.length - 1], dims[dims.length - 2]]
}
function matMulShape(n: OpView, a: Shape, b: Shape): Dim[] {
  const [left, right] = [a.length === 1 ? [1, ...a] : a, b.length === 1 ? [...b, 1] : b]
  const [k, l] = [left[left.length - 1], right[right.length - 2]]
  if (typeof k === 'number' && typeof l === 'number' && k !== l)
    throw n.illegal(`inner sizes ${k} and ${l} differ`)
  const batch = broadcastShapes(left.slice(0, -2), right.slice(0, -2))
  if (!batch) throw n.illegal("batch dimensions don't broadcast")
  return [
    ...batch,
    ...(a.length === 1 ? [] : [left[left.length - 2]]),
    ...(b.length === 1 ? [] : [right[right.length - 1]]),
  ]
}
const matMul: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    n.sameType(0, 1)
    const [a, b] = [n.shape(0), n.shape(1)]
    return like(n, a && b && matMulShape(n, a, b))
  },
}
const fusedMatMul: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    n.sameType(0, 1)
    const [a, b] = [n.shape(0), n.shape(1)]
    if (!a || !b) return like(n, null)
    return like(n, matMulShape(n, n.int('transA', 0) ? swapLast(a) : a, n.int('transB', 0) ? swapLast(b) : b))
  },
}
const gemm: OpSpec = {
  arity: [2, 3],
  infer: (n) => {
    n.sameType(0, 1)
    const [a, b] = [n.shape(0), n.shape(1)]
    if (!a || !b) return like(n, null)
    return like(n, matMulShape(n, n.int('transA', 0) ? swapLast(a) : a, n.int('transB', 0) ? swapLast(b) : b))
  },
}

const windowed = (dim: Dim, kernel: number, dilation: number, stride: number, pads: number): Dim =>
  addDims(floorDivide(subtractDims(addDims(dim, pads), dilation * (kernel - 1) + 1), stride), 1)
function spatial(n: OpView, dims: Shape, kernel: readonly number[]): Dim[] {
  if (n.text('auto_pad', 'NOTSET') !== 'NOTSET') return kernel.map((_, i) => formula(`${n.where}#${i}`))
  if (dims.length !== kernel.length + 2)
    throw n.illegal(`input 0 has rank ${dims.length}, the kernel asks for ${kernel.length + 2}`)
  const at = (name: string, i: number, otherwise: number) => perAxis(n, name, i, kernel.length) ?? otherwise
  return kernel.map((k, i) =>
    windowed(
      dims[i + 2],
      k,
      at('dilations', i, 1),
      at('strides', i, 1),
      at('pads', i, 0) + at('pads', i + kernel.length, 0),
    ),
  )
}
/** An attribute with a number per spatial axis (pads: two). */
function perAxis(n: OpView, name: string, i: number, axes: number): number | undefined {
  const all = n.ints(name)
  const count = name === 'pads' ? 2 * axes : axes
  if (all && all.length !== count) throw n.illegal(`${name} has ${all.length} numbers, expected ${count}`)
  if (all && name !== 'pads' && name !== 'output_padding' && all[i] < 1)
    throw n.illegal(`${name} ${all[i]} is less than 1`)
  return all?.[i]
}
const conv: OpSpec = {
  arity: [2, 3],
  infer: (n) => {
    const [x, w] = [n.shape(0), n.shape(1)]
    return like(n, x && w && [x[0], w[0], ...spatial(n, x, w.slice(2) as number[])])
  },
}
const convTranspose: OpSpec = {
  arity: [2, 3],
  infer: (n) => {
    const [x, w] = [n.shape(0), n.shape(1)]
    if (!x || !w) return like(n, null)
    if (x.length !== w.length) throw n.illegal(`input 0 has rank ${x.length}, the kernel ${w.length}`)
    const at = (name: string, i: number, otherwise: number) => perAxis(n, name, i, w.length - 2) ?? otherwise
    const size = (i: number): Dim => {
      const kernel = at('dilations', i, 1) * ((w[i + 2] as number) - 1) + 1
      const pads = at('pads', i, 0) + at('pads', i + w.length - 2, 0)
      return addDims(
        multiplyDims(subtractDims(x[i + 2], 1), at('strides', i, 1)),
        kernel - pads + at('output_padding', i, 0),
      )
    }
    return like(n, [x[0], multiplyDims(w[1], n.int('group', 1)), ...w.slice(2).map((_, i) => size(i))])
  },
}
const pool: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const x = n.shape(0)
    const dims = x && [x[0], x[1], ...spatial(n, x, n.ints('kernel_shape') ?? [])]
    return n.outputs > 1 ? [...like(n, dims), { dtype: 'int64', shape: dims }] : like(n, dims)
  },
}
const globalPool: OpSpec = {
  arity: [1, 1],
  infer: (n) => like(n, n.shape(0)?.map((d, i) => (i < 2 ? d : 1)) ?? null),
}

/** Axes come as input 1 (opset 18, and ReduceSum since 13); import turns the older attribute into that input. */
export function reductionAxes(n: OpView, rank: number): readonly number[] | undefined {
  if (n.x[1]) return n.numbers(1)?.map((a) => n.axis(a, rank))
  return n.int('noop_with_empty_axes', 0) ? [] : Array.from({ length: rank }, (_, i) => i)
}
const reduce: OpSpec = {
  arity: [1, 2],
  infer: (n) => {
    const dims = n.shape(0)
    if (!dims) return like(n, null)
    const axes = reductionAxes(n, dims.length)
    const keep = n.int('keepdims', 1)
    if (!axes) return like(n, keep ? dims.map((_, i) => formula(`${n.where}#${i}`)) : null)
    return like(
      n,
      keep ? dims.map((d, i) => (axes.includes(i) ? 1 : d)) : dims.filter((_, i) => !axes.includes(i)),
    )
  },
}
const argReduce: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const dims = n.shape(0)
    const axis = dims ? n.axis(n.int('axis', 0), dims.length) : 0
    const shape =
      dims &&
      (n.int('keepdims', 1) ? dims.map((d, i) => (i === axis ? 1 : d)) : dims.filter((_, i) => i !== axis))
    return [{ dtype: 'int64', shape }]
  },
}
const topK: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const dims = n.shape(0)
    const k = n.dims(1)?.[0] ?? formula(`${n.where}#k`)
    const shape = dims?.map((d, i) => (i === n.axis(n.int('axis', -1), dims.length) ? k : d)) ?? null
    return [...like(n, shape), { dtype: 'int64', shape }]
  },
}
const rowwise: OpSpec = { arity: [1, 1], infer: (n) => like(n, n.shape(0)) }
/** LayerNormalization and its simplified (root-mean-square) form; later outputs are per row: mean, inverse deviation. */
const layerNorm: OpSpec = {
  arity: [2, 3],
  infer: (n) => {
    const dims = n.shape(0)
    const axis = dims ? n.axis(n.int('axis', -1), dims.length) : 0
    const perRow: Typed = { dtype: n.input(0).dtype, shape: dims?.map((d, i) => (i < axis ? d : 1)) ?? null }
    return [...like(n, dims), ...Array.from({ length: n.outputs - 1 }, () => perRow)]
  },
}
const sameAsFirst = (least: number): OpSpec => ({ arity: [least, many], infer: (n) => like(n, n.shape(0)) })

export const computeOps: OpTable = {
  MatMul: matMul,
  'com.microsoft::FusedMatMul': fusedMatMul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: pool,
  AveragePool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  ...Object.fromEntries(
    ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'LogSum', 'LogSumExp', 'SumSquare'].map((kind) => [
      `Reduce${kind}`,
      reduce,
    ]),
  ),
  ArgMax: argReduce,
  ArgMin: argReduce,
  TopK: topK,
  Softmax: rowwise,
  LogSoftmax: rowwise,
  LayerNormalization: layerNorm,
  SimplifiedLayerNormalization: layerNorm,
  'com.microsoft::RotaryEmbedding': sameAsFirst(4),
  RMSNormalization: sameAsFirst(2),
  BatchNormalization: sameAsFirst(5),
  InstanceNormalization: sameAsFirst(3),
  GroupNormalization: sameAsFirst(3),
}
