import { Matrix, QrDecomposition } from 'ml-matrix'
import { principal, type Svd } from './principal.js'
import { TorchRandom } from './torch-random.js'

/**
 * torch.svd_lowrank after torch.manual_seed: the q greatest singular values and vectors of w, as `rounds` of subspace iteration find them
 * from the same random start (Halko, Martinsson and Tropp, 2011, algorithms 4.4 and 5.1). Equal up to rounding and the vectors' signs.
 */
export function lowRankSvd(w: Matrix, q: number, rounds: number, seed: number): Svd {
  if (w.rows < w.columns) {
    const { U, s, V } = lowRankSvd(w.transpose(), q, rounds, seed)
    return { U: V, s, V: U }
  }
  const basis = (m: Matrix) => new QrDecomposition(m).orthogonalMatrix
  const start = new TorchRandom(seed).normal(w.columns * q, 1)
  const wT = w.transpose()
  let Q = basis(w.mmul(Matrix.from1DArray(w.columns, q, start)))
  for (let i = 0; i < rounds; i++) Q = basis(w.mmul(basis(wT.mmul(Q))))
  const inner = principal(Q.transpose().mmul(w), q)
  return { ...inner, U: Q.mmul(inner.U) }
}
