import { EigenvalueDecomposition, inverse, Matrix, QrDecomposition } from 'ml-matrix'

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
