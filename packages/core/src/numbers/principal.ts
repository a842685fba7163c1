import { Matrix, QrDecomposition, SingularValueDecomposition } from 'ml-matrix'
import { Random } from './random.js'

/** Up to this size a full decomposition is quick; beyond, subspace iteration finds what is needed of it. */
const small = 256
/** Rounds of subspace iteration that principal takes where none are given. */
export const exactRounds = 24

/** The first r singular values and vectors, at least. */
export const principal = (w: Matrix, r: number, rounds = exactRounds): Svd =>
  Math.min(w.rows, w.columns) <= small ? exact(w) : dominant(w, r, rounds)

/** W = U·diag(s)·Vᵀ: U [rows, r], s largest first, V [columns, r]. */
export interface Svd {
  U: Matrix
  s: number[]
  V: Matrix
}
function exact(w: Matrix): Svd {
  const svd = new SingularValueDecomposition(w, { autoTranspose: true })
  return { U: svd.leftSingularVectors, s: svd.diagonal, V: svd.rightSingularVectors }
}
/** Subspace iteration with a few columns to spare (Halko, Martinsson and Tropp, 2011, algorithm 4.4). */
function dominant(w: Matrix, r: number, rounds: number): Svd {
  const random = new Random(0, 'pissa')
  const width = Math.min(r + 8, w.rows, w.columns)
  const wT = w.transpose()
  const basis = (m: Matrix) => new QrDecomposition(m).orthogonalMatrix
  let q = basis(w.mmul(Matrix.rand(w.columns, width, { random: () => random.normal() })))
  for (let i = 0; i < rounds; i++) q = basis(w.mmul(basis(wT.mmul(q))))
  const inner = exact(q.transpose().mmul(w))
  return { ...inner, U: q.mmul(inner.U) }
}
