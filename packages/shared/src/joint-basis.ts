import { copyOf, type LinearSite, numbersIn, Random, type Value } from '@graft-peft/core'
import { EigenvalueDecomposition, inverse, Matrix, QrDecomposition, solve } from 'ml-matrix'

/**
 * One basis V [n, n] for weights [m, n] stacked: the eigenvectors of the mean of (QᵢᵀQᵢ + αI)⁻¹, Q·R the stack, turned back by
 * Rᵀ (hierarchical joint decomposition). Fewer rows than columns have no such R: then it is the stack's right singular vectors.
 */
export function jointBasis(weights: readonly Matrix[], alpha: number): Float32Array {
  const rows = weights.reduce((sum, w) => sum + w.rows, 0)
  const n = weights[0].columns
  const stack = new Matrix(rows, n)
  let next = 0
  const starts = weights.map((w) => {
    stack.setSubMatrix(w, next, 0)
    next += w.rows
    return next - w.rows
  })
  if (rows < n) return flat(eigenvectors(stack.transpose().mmul(stack)))
  const { orthogonalMatrix: Q, upperTriangularMatrix: R } = new QrDecomposition(stack)
  const mean = Matrix.zeros(n, n)
  weights.forEach((w, i) => {
    const part = Q.subMatrix(starts[i], starts[i] + w.rows - 1, 0, n - 1)
    mean.add(inverse(part.transpose().mmul(part).add(Matrix.eye(n, n).mul(alpha))))
  })
  return flat(R.transpose().mmul(eigenvectors(mean.div(weights.length))))
}

function eigenvectors(symmetric: Matrix): Matrix {
  // What rounding makes of symmetry would make the decomposition look for complex values.
  const even = Matrix.add(symmetric, symmetric.transpose()).div(2)
  return new EigenvalueDecomposition(even, { assumeSymmetric: true }).eigenvectorMatrix
}
const flat = (m: Matrix): Float32Array => Float32Array.from(m.to1DArray())

/** Layers by kind, as HF PEFT names kinds: the last two parts of a path, numbers left out. */
export function kinds(sites: readonly LinearSite[]): Map<string, LinearSite[]> {
  const found = new Map<string, LinearSite[]>()
  for (const site of sites) {
    const [above, before = '', last] = ['', '', ...site.path.split('.')].slice(-3)
    const both = /^\d*$/.test(before) ? last : `${before}_${last}`
    const kind = both === 'output_dense' && above === 'attention' ? 'attention_output' : both
    found.set(kind, [...(found.get(kind) ?? []), site])
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

export const matrixOf = ({ weight }: LinearSite): (() => Matrix) => {
  const read = copyOf(weight)
  const [m, n] = weight.shape
  return () => Matrix.from1DArray(m, n, read([m, n], new Random(0)))
}

/** W·V⁻ᵀ as unit columns and their lengths. */
export function inBasis(site: LinearSite, V: Value): () => { U: Float32Array; lengths: Float32Array } {
  const weight = matrixOf(site)
  let made: { U: Float32Array; lengths: Float32Array } | undefined
  const make = () => {
    const n = site.inFeatures
    const columns = solve(Matrix.from1DArray(n, n, numbersIn(V)), weight().transpose(), true).transpose()
    const lengths = Float32Array.from({ length: n }, (_, j) => Math.hypot(...columns.getColumn(j)))
    const unit = Array.from(lengths, (v) => (v > 1e-12 ? 1 / v : 0))
    return { U: Float32Array.from(columns.mulRowVector(unit).to1DArray()), lengths }
  }
  return () => (made ??= make())
}
