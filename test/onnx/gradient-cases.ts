import { type CaseInput, type GradientCase } from '@graft-peft/method-tester'

/** random floats in [-2, 2] */
const x = (...shape: number[]): CaseInput => ({ shape })
/** random floats in a range: the operator's domain, or away from its kinks */
const within = (low: number, high: number, ...shape: number[]): CaseInput => ({ shape, range: [low, high] })
const positive = (...shape: number[]): CaseInput => within(0.5, 2, ...shape)
/** its sizes stay known in the symbolic variants */
const sized = (input: CaseInput): CaseInput => ({ ...input, free: [] })
/** images: the batch alone is symbolic */
const images = (...shape: number[]): CaseInput => ({ shape, free: [0] })
/** integers that are part of the graph */
const ints = (...values: number[]): CaseInput => ({
  shape: [values.length],
  values,
  dtype: 'int64',
  constant: true,
})
const indices = (shape: number[], values: number[]): CaseInput => ({ shape, values, dtype: 'int64' })
const int = (value: number): CaseInput => ({ shape: [], values: [value], dtype: 'int64', constant: true })
/** distinct numbers, so that maxima have one winner and no step crosses over */
const distinct = (...shape: number[]): CaseInput => {
  const count = shape.reduce((a, b) => a * b, 1)
  return {
    shape,
    values: Array.from({ length: count }, (_, i) => (((i * 7) % count) - count / 2 + 0.25) * 0.4),
  }
}
const bools = (shape: number[], values: number[]): CaseInput => ({ shape, values, dtype: 'bool' })

/** heads or joined heads, positions, cosines and sines of four positions */
const rotary = (shape: number[], pairs: number): CaseInput[] => {
  const table = (f: (angle: number) => number): CaseInput => ({
    shape: [4, pairs],
    values: Array.from({ length: 4 * pairs }, (_, i) => f(0.7 * i)),
    constant: true,
  })
  return [
    images(...shape),
    { shape: [2, 3], values: [0, 1, 2, 1, 3, 0], dtype: 'int64', free: [0] },
    table(Math.cos),
    table(Math.sin),
  ]
}
/** weights of rows × blocks of 16 numbers in 4 bits, their scales and zero points, the last padded to whole bytes */
const bytes = (shape: number[]): CaseInput => ({
  shape,
  values: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i * 37 + 11) % 256),
  dtype: 'uint8',
  constant: true,
})
const nbits = (rows: number, blocks: number): CaseInput => bytes([rows, blocks, 8])
const zeros = (rows: number, width: number): CaseInput => bytes([rows * width])
const scales = (rows: number, blocks: number): CaseInput => ({
  shape: [rows * blocks],
  values: Array.from({ length: rows * blocks }, (_, i) => 0.05 + 0.01 * i),
  constant: true,
})
export type Variant = Omit<GradientCase, 'op'>
const broadcasts: [number[], number[]][] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [
    [2, 1, 3],
    [4, 1],
  ],
  [[1], [2, 3]],
  [[2, 3], []],
]
const binary = (a: (...s: number[]) => CaseInput, b = a): Variant[] =>
  broadcasts.map(([s, t]) => ({ inputs: [a(...s), b(...t)] }))
const unary = (of: (...s: number[]) => CaseInput = x, ...attributes: Variant['attributes'][]): Variant[] =>
  attributes.length > 0
    ? attributes.map((a) => ({ inputs: [of(2, 3)], attributes: a }))
    : [{ inputs: [of(2, 3)] }, { inputs: [of(2, 1, 4)] }]
const smooth = unary()
/** reductions: over one axis, several, all, kept or dropped */
const reductions = (of: (...s: number[]) => CaseInput): Variant[] => [
  { inputs: [of(2, 3, 4), ints(1)] },
  { inputs: [of(2, 3, 4), ints(0, -1)], attributes: { keepdims: 0 } },
  { inputs: [of(2, 3)] },
  { inputs: [of(2, 3)], attributes: { keepdims: 0 } },
]
const alongAxis = [-1, 0, 1].map((axis): Variant => ({ inputs: [x(2, 3, 4)], attributes: { axis } }))

/** Attributes, ranks and broadcasts of every operator that has a gradient rule. */
export const cases: Record<string, Variant[]> = {
  Add: binary(x),
  Sub: binary(x),
  Mul: binary(x),
  Div: binary(x, positive),
  Pow: [
    ...binary(positive),
    { inputs: [x(2, 3), { shape: [], values: [2], constant: true }] },
    { inputs: [x(2, 3), { shape: [], values: [3], constant: true }] },
  ],
  Sum: [{ inputs: [x(2, 3), x(3), x(2, 1)] }],
  Mean: [{ inputs: [x(2, 3), x(3), x(2, 1)] }],
  Max: [
    { inputs: [distinct(2, 3), within(-0.05, 0.05, 3)] },
    { inputs: [distinct(2, 3), within(3, 4, 2, 1)] },
  ],
  Min: [
    { inputs: [distinct(2, 3), within(-0.05, 0.05, 3)] },
    { inputs: [distinct(2, 3), within(-4, -3, 2, 1)] },
  ],
  Where: [
    { inputs: [bools([2, 3], [1, 0, 1, 0, 0, 1]), x(2, 3), x(2, 3)] },
    { inputs: [bools([3], [1, 0, 1]), x(2, 3), x()] },
    { inputs: [bools([2, 1], [1, 0]), x(3), x(2, 1)] },
  ],
  Cast: [{ inputs: [{ shape: [2, 3], dtype: 'float64' }], attributes: { to: 11 } }],
  CastLike: [{ inputs: [x(2, 3), x(1)], fixed: [1] }],
  Identity: smooth,
  Neg: smooth,
  Abs: unary(distinct),
  Sqrt: unary(positive),
  Reciprocal: unary(positive),
  Exp: smooth,
  Log: unary(positive),
  Sin: smooth,
  Cos: smooth,
  Tan: unary((...s) => within(-1, 1, ...s)),
  Erf: smooth,
  Tanh: smooth,
  Sigmoid: smooth,
  Relu: unary(distinct),
  LeakyRelu: unary(distinct, {}, { alpha: 0.3 }),
  Elu: unary(distinct, {}, { alpha: 0.7 }),
  Softplus: smooth,
  Softsign: unary(distinct),
  HardSigmoid: unary((...s) => within(-1.5, 1.5, ...s), {}, { alpha: 0.1, beta: 0.4 }),
  HardSwish: unary((...s) => within(-2, 2, ...s)),
  Mish: smooth,
  PRelu: [{ inputs: [distinct(2, 3), x(3)] }, { inputs: [distinct(2, 3, 2), x(3, 1)] }],
  Gelu: unary(x, {}, { approximate: 'tanh' }),
  'com.microsoft::RotaryEmbedding': [
    { inputs: rotary([2, 2, 3, 4], 2), attributes: { interleaved: 0 } },
    { inputs: rotary([2, 2, 3, 4], 2), attributes: { interleaved: 1 } },
    {
      inputs: rotary([2, 2, 3, 6], 2),
      attributes: { interleaved: 0, rotary_embedding_dim: 4, num_heads: 2 },
    },
    { inputs: rotary([2, 3, 8], 2), attributes: { interleaved: 0 } },
  ],
  'com.microsoft::MatMulNBits': [
    {
      inputs: [sized(x(3, 32)), nbits(4, 2), scales(4, 2)],
      attributes: { K: 32, N: 4, bits: 4, block_size: 16 },
    },
    {
      inputs: [{ ...x(2, 3, 32), free: [0, 1] }, nbits(4, 2), scales(4, 2), zeros(4, 1)],
      attributes: { K: 32, N: 4, bits: 4, block_size: 16 },
    },
    {
      inputs: [sized(x(3, 48)), nbits(2, 3), scales(2, 3), zeros(2, 2)],
      attributes: { K: 48, N: 2, bits: 4, block_size: 16 },
    },
  ],
  'com.microsoft::QuickGelu': unary(x, {}, { alpha: 1 }, { alpha: 1.702 }),
  Clip: [
    {
      inputs: [
        distinct(2, 3),
        { shape: [], values: [-0.8], constant: true },
        { shape: [], values: [0.8], constant: true },
      ],
    },
    { inputs: [distinct(2, 3), null, { shape: [], values: [0.3], constant: true }] },
  ],
  MatMul: [
    { inputs: [x(2, 3), x(3, 4)] },
    { inputs: [x(2, 2, 3), x(3, 4)] },
    { inputs: [x(2, 1, 2, 3), x(3, 3, 2)] },
    { inputs: [x(3), x(3, 2)] },
    { inputs: [x(2, 3), x(3)] },
    { inputs: [x(3), x(3)] },
    { inputs: [x(2, 3), x(2, 3, 2)] },
  ],
  'com.microsoft::FusedMatMul': [
    { inputs: [x(2, 3), x(4, 3)], attributes: { transB: 1 } },
    { inputs: [x(3, 2), x(3, 4)], attributes: { transA: 1, alpha: 0.5 } },
    { inputs: [x(2, 3, 2), x(4, 3)], attributes: { transA: 1, transB: 1, alpha: 2 } },
    { inputs: [x(2, 2, 3), x(4, 3)], attributes: { transB: 1 } },
    { inputs: [x(2, 2, 2, 3), x(1, 2, 4, 3)], attributes: { transB: 1, alpha: 0.25 } },
  ],
  Gemm: [
    { inputs: [x(2, 3), x(3, 4), x(4)] },
    { inputs: [x(3, 2), x(4, 3), x(2, 1)], attributes: { transA: 1, transB: 1, alpha: 0.5, beta: 2 } },
    { inputs: [x(2, 3), x(4, 3)], attributes: { transB: 1 } },
    { inputs: [x(3, 2), x(3, 4), x()], attributes: { transA: 1 } },
  ],
  Einsum: [
    { inputs: [x(2, 3), x(3, 4)], attributes: { equation: 'ij,jk->ik' } },
    { inputs: [x(2, 3, 4), x(2, 5, 4)], attributes: { equation: 'bid,bjd->bij' } },
  ],
  Reshape: [{ inputs: [x(2, 3, 4), ints(6, -1)] }, { inputs: [x(2, 3, 4), ints(0, 12)] }],
  Flatten: [{ inputs: [x(2, 3, 4)] }, { inputs: [x(2, 3, 4)], attributes: { axis: 2 } }],
  Squeeze: [{ inputs: [x(2, 1, 3), ints(1)] }],
  Unsqueeze: [{ inputs: [x(2, 3), ints(0, 2)] }],
  Transpose: [{ inputs: [x(2, 3, 4)], attributes: { perm: [2, 0, 1] } }, { inputs: [x(2, 3)] }],
  Concat: [
    { inputs: [x(2, 3), x(2, 1), x(2, 2)], attributes: { axis: 1 } },
    { inputs: [x(2, 3), x(1, 3)], attributes: { axis: 0 } },
    { inputs: [x(2, 3), x(2, 2)], attributes: { axis: -1 } },
  ],
  Split: [
    { inputs: [x(2, 6), ints(1, 2, 3)], attributes: { axis: 1 }, outputs: 3 },
    { inputs: [x(4, 2), ints(2, 2)], attributes: { axis: 0 }, outputs: 2 },
  ],
  Slice: [
    { inputs: [x(4, 5), ints(1), ints(3), ints(0)] },
    { inputs: [x(4, 5), ints(0, -3), ints(4, 5), ints(0, 1), ints(2, 1)] },
    { inputs: [x(4, 5), ints(3), ints(-10), ints(0), ints(-1)] },
    { inputs: [x(4, 5), ints(-2), ints(9223372036854775000), ints(1)] },
  ],
  Expand: [{ inputs: [x(3, 1), ints(2, 3, 4)] }, { inputs: [x(3), ints(2, 1)] }],
  Tile: [{ inputs: [x(2, 3), ints(2, 1)] }, { inputs: [x(2, 3), ints(1, 3)] }],
  Pad: [
    { inputs: [x(2, 3), ints(1, 0, 0, 2)] },
    { inputs: [x(2, 3), ints(0, 1, 0, 0), { shape: [], values: [0.5], constant: true }] },
  ],
  Trilu: [{ inputs: [x(3, 4)] }, { inputs: [x(2, 3, 3), int(-1)], attributes: { upper: 0 } }],
  CumSum: [
    { inputs: [x(2, 4), int(1)] },
    { inputs: [x(3, 2), int(0)], attributes: { reverse: 1 } },
    { inputs: [x(2, 4), int(1)], attributes: { exclusive: 1 } },
  ],
  Gather: [
    { inputs: [x(4, 3), indices([2, 2], [0, 3, 3, 1])] },
    { inputs: [x(4, 3), indices([2], [2, -1])], attributes: { axis: 1 } },
    { inputs: [x(4, 3), indices([], [2])] },
  ],
  GatherElements: [
    { inputs: [x(3, 3), indices([2, 3], [0, 1, 2, 2, 0, 1])] },
    { inputs: [x(3, 3), indices([3, 2], [0, 1, 2, 2, 0, 0])], attributes: { axis: 1 } },
  ],
  GatherND: [
    { inputs: [x(3, 4), sized(indices([2, 2], [0, 1, 2, 3]))] },
    { inputs: [x(3, 4), sized(indices([3, 1], [2, 0, 2]))] },
  ],
  ScatterND: [
    { inputs: [x(4, 3), indices([2, 1], [3, 0]), x(2, 3)] },
    { inputs: [x(4, 3), indices([2, 1], [1, 1]), x(2, 3)], attributes: { reduction: 'add' } },
  ],
  ScatterElements: [
    { inputs: [x(3, 3), indices([1, 3], [0, 2, 1]), x(1, 3)] },
    { inputs: [x(3, 3), indices([3, 1], [0, 2, 1]), x(3, 1)], attributes: { axis: 1, reduction: 'add' } },
  ],
  TopK: [
    { inputs: [distinct(2, 5), ints(2)], outputs: 2 },
    { inputs: [distinct(4, 3), ints(2)], attributes: { axis: 0, largest: 0 }, outputs: 2 },
  ],
  ReduceSum: [
    ...reductions(x),
    {
      inputs: [x(2, 3), { shape: [0], values: [], dtype: 'int64', constant: true }],
      attributes: { noop_with_empty_axes: 1 },
    },
  ],
  ReduceMean: reductions(x),
  ReduceMax: reductions(distinct),
  ReduceMin: reductions(distinct),
  ReduceProd: reductions(positive),
  ReduceL1: reductions(distinct),
  ReduceL2: reductions(positive),
  ReduceSumSquare: reductions(x),
  ReduceLogSum: reductions(positive),
  ReduceLogSumExp: reductions(x),
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
  GlobalAveragePool: [{ inputs: [x(2, 3, 2, 2)] }],
  LayerNormalization: [
    { inputs: [x(2, 3, 4), x(4), x(4)] },
    { inputs: [x(2, 3, 4), x(4)], attributes: { axis: -1, epsilon: 0.1 } },
    { inputs: [x(2, 3, 4), x(3, 4), x(3, 4)], attributes: { axis: 1 } },
  ],
  SimplifiedLayerNormalization: [
    { inputs: [x(2, 3, 4), x(4)] },
    { inputs: [x(2, 4), x(4)], attributes: { axis: -1, epsilon: 0.1 } },
  ],
  BatchNormalization: [{ inputs: [x(2, 3, 2), x(3), x(3), x(3), positive(3)], fixed: [3, 4] }],
  Conv: [
    { inputs: [images(2, 2, 4, 4), sized(x(3, 2, 2, 2)), x(3)] },
    { inputs: [images(2, 2, 4, 4), sized(x(2, 2, 2, 2))], attributes: { strides: [2, 2] } },
    {
      inputs: [images(2, 2, 4, 4), sized(x(2, 1, 3, 3)), x(2)],
      attributes: { group: 2, pads: [1, 1, 1, 1] },
    },
    { inputs: [images(2, 2, 5), sized(x(2, 2, 2))], attributes: { dilations: [2] } },
  ],
}
