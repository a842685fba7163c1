import { addDims, type Dim, floorDivide, multiplyDims, subtractDims } from '../dim.js'
import { type DType, dtypeOfCode, isFloat, type Known } from '../types.js'
import { many, type OpSpec, type OpTable, type OpView, type Typed } from './spec.js'

type Fold = (a: Dim, b: Dim, dtype: DType) => Dim | boolean | undefined
const number =
  (f: (a: number, b: number) => number | boolean): Fold =>
  (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? f(a, b) : undefined

/** Of vectors that stretch to one length, one entry standing for any number; undefined of others. */
function commonLength(...vectors: readonly Known[]): number | undefined {
  const lengths = new Set(vectors.map((v) => v.length).filter((l) => l !== 1))
  return lengths.size > 1 ? undefined : ([...lengths][0] ?? 1)
}

/** Applies a fold over two known vectors (or scalars against vectors). */
function foldPair(n: OpView, fold: Fold): Known | undefined {
  const [a, b] = [n.dims(0), n.dims(1)]
  if (!a || !b) return undefined
  const length = commonLength(a, b)
  if (length === undefined) return undefined
  const result: (Dim | boolean)[] = []
  for (let i = 0; i < length; i++) {
    const folded = fold(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i], n.input(0).dtype)
    if (folded === undefined || (typeof folded === 'number' && !Number.isFinite(folded))) return undefined
    result.push(folded)
  }
  return result
}

const binary = (fold?: Fold, dtype?: DType): OpSpec => ({
  arity: [2, 2],
  infer: (n) => [
    { dtype: dtype ?? n.sameType(0, 1), shape: n.broadcast(0, 1), known: fold && foldPair(n, fold) },
  ],
})
/** Pow and BitShift-like operators let the second operand differ in type. */
const binaryOfFirst = (fold?: Fold): OpSpec => ({
  arity: [2, 2],
  infer: (n) => [{ dtype: n.input(0).dtype, shape: n.broadcast(0, 1), known: fold && foldPair(n, fold) }],
})
const variadic = (fold?: Fold): OpSpec => ({
  arity: [1, many],
  infer: (n) => [
    {
      dtype: n.sameType(...n.x.keys()),
      shape: n.broadcast(...n.x.keys()),
      known: n.x.length === 2 && fold ? foldPair(n, fold) : undefined,
    },
  ],
})
const unary = (fold?: (a: number) => number, arity: readonly [number, number] = [1, 1]): OpSpec => ({
  arity,
  infer: (n) => {
    const known = fold && n.numbers(0)?.map(fold)
    const finite = known?.every(Number.isFinite) ? known : undefined
    return [{ dtype: n.input(0).dtype, shape: n.shape(0), known: finite }]
  },
})
const predicate: OpSpec = { arity: [1, 1], infer: (n) => [{ dtype: 'bool', shape: n.shape(0) }] }

const divide: Fold = (a, b, dtype) =>
  isFloat(dtype)
    ? typeof a === 'number' && typeof b === 'number'
      ? a / b
      : undefined
    : b === 0
      ? undefined
      : floorDivide(a, b)
/** Symbolic sizes are at least 1, so a size is never equal to a number below 1. */
const equal: Fold = (a, b) => {
  if (a === b) return true
  if (typeof a === 'number' && typeof b === 'number') return false
  const constant = typeof a === 'number' ? a : b
  return typeof constant === 'number' && constant < 1 ? false : undefined
}

function castKnown(n: OpView, to: DType): Known | undefined {
  const known = n.x[0]?.known
  if (!known) return undefined
  if (to === 'bool') return known.every((d) => typeof d !== 'string') ? known.map(Boolean) : undefined
  return known.map((d) =>
    typeof d === 'boolean' ? Number(d) : typeof d === 'number' && !isFloat(to) ? Math.trunc(d) : d,
  )
}

const cast: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const to = dtypeOfCode(n.int('to', 0))
    if (!to) throw n.illegal(`unknown element type ${n.int('to', 0)}`)
    return [{ dtype: to, shape: n.shape(0), known: castKnown(n, to) }]
  },
}
const castLike: OpSpec = {
  arity: [2, 2],
  infer: (n) => [{ dtype: n.input(1).dtype, shape: n.shape(0), known: castKnown(n, n.input(1).dtype) }],
}

function foldWhere(n: OpView): Known | undefined {
  const [c, a, b] = [n.x[0]?.known, n.x[1]?.known, n.x[2]?.known]
  if (!c || !a || !b) return undefined
  const length = commonLength(c, a, b)
  if (length === undefined) return undefined
  const at = (k: Known, i: number) => k[k.length === 1 ? 0 : i]
  return Array.from({ length }, (_, i) => (at(c, i) ? at(a, i) : at(b, i)))
}
const where: OpSpec = {
  arity: [3, 3],
  infer: (n) => [{ dtype: n.sameType(1, 2), shape: n.broadcast(0, 1, 2), known: foldWhere(n) }],
}
const dropout: OpSpec = {
  arity: [1, 3],
  infer: (n): Typed[] => [
    { dtype: n.input(0).dtype, shape: n.shape(0), known: n.x[0]?.known },
    { dtype: 'bool', shape: n.shape(0) },
  ],
}

/** Functions of one number. */
export const functions = [
  'Exp',
  'Log',
  'Sin',
  'Cos',
  'Tan',
  'Erf',
  'Tanh',
  'Sigmoid',
  'Relu',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Celu',
  'Softplus',
  'Softsign',
  'HardSigmoid',
  'HardSwish',
  'Mish',
  'Sign',
  'Round',
  'Gelu',
  'com.microsoft::Gelu',
  'com.microsoft::QuickGelu',
  'Asin',
  'Acos',
  'Atan',
  'Sinh',
  'Cosh',
  'ThresholdedRelu',
  'BitwiseNot',
]

export const elementwiseOps: OpTable = {
  Add: binary(addDims),
  Sub: binary(subtractDims),
  Mul: binary((a, b, dtype) =>
    isFloat(dtype) && (typeof a === 'string' || typeof b === 'string') ? undefined : multiplyDims(a, b),
  ),
  Div: binary(divide),
  Mod: binary(number((a, b) => (b === 0 ? Number.NaN : ((a % b) + b) % b))),
  Pow: binaryOfFirst(number((a, b) => a ** b)),
  PRelu: binaryOfFirst(),
  BitShift: binaryOfFirst(),
  BitwiseAnd: binary(),
  BitwiseOr: binary(),
  BitwiseXor: binary(),
  Max: variadic(number(Math.max)),
  Min: variadic(number(Math.min)),
  Sum: variadic(),
  Mean: variadic(),
  And: binary(undefined, 'bool'),
  Or: binary(undefined, 'bool'),
  Xor: binary(undefined, 'bool'),
  Equal: binary(equal, 'bool'),
  Less: binary(
    number((a, b) => a < b),
    'bool',
  ),
  LessOrEqual: binary(
    number((a, b) => a <= b),
    'bool',
  ),
  Greater: binary(
    number((a, b) => a > b),
    'bool',
  ),
  GreaterOrEqual: binary(
    number((a, b) => a >= b),
    'bool',
  ),
  Neg: unary((a) => -a),
  Abs: unary(Math.abs),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((a) => 1 / a),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Clip: unary(undefined, [1, 3]),
  'com.microsoft::FastGelu': unary(undefined, [1, 2]),
  ...Object.fromEntries(functions.map((op) => [op, unary()])),
  Identity: {
    arity: [1, 1],
    infer: (n) => [{ dtype: n.input(0).dtype, shape: n.shape(0), known: n.x[0]?.known }],
  },
  'graft::StopGradient': unary(),
  Not: predicate,
  IsNaN: predicate,
  IsInf: predicate,
  Cast: cast,
  CastLike: castLike,
  Where: where,
  Dropout: dropout,
}
