import {
  copyOf,
  exactRounds,
  type Initialiser,
  kaimingUniform,
  normal,
  principal,
  Random,
  type WeightSlot,
  zeros,
} from '@graft-peft/core'
import { Matrix, QrDecomposition } from 'ml-matrix'

/** What A [r, in] and B [out, r] start from. */
export interface Start {
  A: Initialiser
  B: Initialiser
  /** the starting product is taken off the base weight, so that training still starts from the base */
  subtracted: boolean
  /** whether B stays what it starts from */
  frozen?: boolean
}

/** HF PEFT's init_lora_weights. `scale` is α/r, which PiSSA divides its singular values by. */
export function start(choice: boolean | string, weight: WeightSlot, r: number, scale: number): Start {
  const plain = (A: Initialiser, B: Initialiser): Start => ({ A, B, subtracted: false })
  if (choice === 'gaussian') return plain(normal(1 / r), zeros)
  if (choice === 'orthogonal') return plain(orthogonal('A', r), orthogonal('B', r))
  if (choice === true || choice === false) return plain(kaimingUniform, choice ? zeros : kaimingUniform)
  if (choice === 'mica') return { A: zeros, B: minor(weight, r), subtracted: false, frozen: true }
  if (!subtracting.test(choice)) return plain(kaimingUniform, zeros)
  const rounds = Number(choice.match(/^pissa_niter_(\d+)$/)?.[1] ?? exactRounds)
  const pair = () =>
    remembered(weight, `${choice}/${r}/${scale}`, (w) =>
      choice === 'olora' ? olora(w, r) : pissa(w, r, scale, rounds),
    )
  return { A: () => pair().A, B: () => pair().B, subtracted: true }
}

/** Starts from a part of the base weight, which is taken off it. */
const subtracting = /^(pissa|olora)/

interface Pair {
  A: Float32Array
  B: Float32Array
}
const known = new WeakMap<object, Map<string, Pair>>()
/** Decompositions of one frozen weight are made once per process: several graphs start from them. */
function remembered(slot: WeightSlot, key: string, make: (w: Matrix) => Pair): Pair {
  const owner = slot.constant?.data ?? slot
  const pairs = known.get(owner) ?? new Map<string, Pair>()
  known.set(owner, pairs)
  const [m, n] = slot.shape
  const found = pairs.get(key) ?? make(Matrix.from1DArray(m, n, copyOf(slot)(slot.shape, new Random(0))))
  pairs.set(key, found)
  return found
}
const gaussian = (rows: number, columns: number, random: Random): Matrix =>
  Matrix.rand(rows, columns, { random: () => random.normal() })
const flat = (matrix: Matrix): Float32Array => Float32Array.from(matrix.to1DArray())

/** Principal singular values and vectors (Meng et al., 2024, arXiv 2404.02948): W ≈ B·s·A with the values' roots on both sides. */
function pissa(w: Matrix, r: number, scale: number, rounds: number): Pair {
  const { U, s, V } = principal(w, r, rounds)
  const roots = s.slice(0, r).map((v) => Math.sqrt(v / scale))
  const A = new Matrix(r, w.columns)
  const B = new Matrix(w.rows, r)
  roots.forEach((root, k) => {
    const signed = root * sign(V.getColumn(k))
    for (let j = 0; j < w.columns; j++) A.set(k, j, signed * V.get(j, k))
    for (let i = 0; i < w.rows; i++) B.set(i, k, signed * U.get(i, k))
  })
  return { A: flat(A), B: flat(B) }
}
/** Singular vectors are free up to a sign: ours makes the greatest entry positive, so that a decomposition is always the same. */
const sign = (v: readonly number[]): number =>
  Math.sign(v.reduce((greatest, x) => (Math.abs(x) > Math.abs(greatest) ? x : greatest), 0)) || 1
/** Left singular vectors of the smallest singular values (MiCA, 2026, arXiv 2604.01694). */
const minor =
  (slot: WeightSlot, r: number): Initialiser =>
  () =>
    remembered(slot, `mica/${r}`, (w) => {
      const { U } = principal(w, Math.min(w.rows, w.columns))
      const last = Math.min(w.rows, w.columns)
      return { A: new Float32Array(), B: flat(U.subMatrix(0, w.rows - 1, last - r, last - 1)) }
    }).B
/** The first r columns of Q and rows of R of W = Q·R (Büyükakyüz, 2024, arXiv 2406.01775). */
function olora(w: Matrix, r: number): Pair {
  const Q = new QrDecomposition(w.subMatrix(0, w.rows - 1, 0, Math.min(r, w.columns) - 1)).orthogonalMatrix
  return { A: flat(Q.transpose().mmul(w)), B: flat(Q) }
}

/** A from the odd and B from the even rows of one random orthogonal matrix: random both, and their product zero. */
const orthogonal =
  (part: 'A' | 'B', r: number): Initialiser =>
  ([rows, columns], random) => {
    const shared = new Random(0, `orthogonal/${r}`)
    const Q = new QrDecomposition(gaussian(r, r, shared)).orthogonalMatrix
    const half = Array.from({ length: r / 2 }, (_, i) => 2 * i + Number(part === 'B'))
    const long = part === 'A' ? columns : rows
    const weights = gaussian(long, r / 2, random).div(10)
    const product = weights.mmul(Q.subMatrixRow(half))
    return flat(part === 'A' ? product.transpose() : product)
  }
