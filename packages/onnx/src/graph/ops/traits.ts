import { functions } from './elementwise.js'

/**
 * What an operator is, whatever it is asked for: passes look here and keep no lists of their own (npm run layers sees to it),
 * so that a new activation or product is known to all of them at once.
 */
const table = {
  /** makes each element of the same element of its inputs, broadcast */
  elementwise: [
    ...functions,
    'Add',
    'Sub',
    'Mul',
    'Div',
    'Pow',
    'Mod',
    'Max',
    'Min',
    'Neg',
    'Abs',
    'Sqrt',
    'Reciprocal',
    'com.microsoft::FastGelu',
    'Floor',
    'Ceil',
    'Clip',
    'Dropout',
    'Where',
    'Equal',
    'Less',
    'LessOrEqual',
    'Greater',
    'GreaterOrEqual',
    'And',
    'Or',
    'Not',
    'Cast',
    'Identity',
    'graft::StopGradient',
  ],
  /** multiplies by a factor, or changes the type: nothing else becomes of the numbers */
  scaling: ['Mul', 'Div', 'Cast'],
  /** a product of matrices */
  product: ['MatMul', 'com.microsoft::FusedMatMul', 'Gemm'],
  /** whose kernel ONNX Runtime gives a packed copy of the constant matrix that it reads from the right */
  packing: [
    'MatMul',
    'Gemm',
    'com.microsoft::FusedMatMul',
    'com.microsoft::MatMulIntegerToFloat',
    'com.microsoft::MatMulNBits',
  ],
  /** sums of products over a shared axis: where nearly all of a step's work is */
  contraction: ['MatMul', 'com.microsoft::FusedMatMul', 'Gemm', 'Conv'],
  /** scales the last axes to a common size */
  norm: ['SimplifiedLayerNormalization', 'LayerNormalization'],
  /** its first input under another shape: no bytes of its own */
  view: ['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity', 'graft::StopGradient'],
  /** puts elements in other places */
  move: ['Gather', 'Transpose', 'Concat', 'Split', 'Slice'],
  /** writes elements several times */
  repeat: ['Expand', 'Tile'],
  /** makes stored numbers wide enough to compute with */
  widening: ['Cast', 'DequantizeLinear'],
  /** takes the precision of what it is given (torch.autocast's list); norms, soft-max, sums and losses stay in float32 */
  follower: [
    'Add',
    'Sub',
    'Mul',
    'Div',
    'Neg',
    'Relu',
    'Sigmoid',
    'Tanh',
    'Gelu',
    'com.microsoft::Gelu',
    'com.microsoft::QuickGelu',
    'com.microsoft::RotaryEmbedding',
    'Reshape',
    'Transpose',
    'Concat',
    'Split',
    'Expand',
    'Squeeze',
    'Unsqueeze',
    'Identity',
    'graft::StopGradient',
  ],
  /** its kernel writes over its input where nobody reads that afterwards (measured on ONNX Runtime 1.30, docs/performance.md) */
  inPlace: ['Sigmoid', 'Tanh', 'Relu', 'Softmax', 'LogSoftmax', 'Clip', 'Cast'],
} as const satisfies Record<string, readonly string[]>

export type Trait = keyof typeof table

const sets = Object.fromEntries(
  Object.entries(table).map(([trait, ops]) => [trait, new Set<string>(ops)]),
) as unknown as Record<Trait, ReadonlySet<string>>

/** Whether an operator, by `Op` or `domain::Op`, has one of these traits. */
export const is = (op: string, ...traits: readonly Trait[]): boolean => traits.some((t) => sets[t].has(op))
