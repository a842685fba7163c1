import type { Builder, Value } from '@graft-peft/core'
import { Matrix } from 'ml-matrix'

/**
 * The orthonormal factor Q [m, r] of A [m, r] by Householder reflections, with the signs that LAPACK gives it (geqrf: each
 * diagonal entry of R against the sign of what stood there). In the graph, so that gradients pass.
 */
export function orthonormal(g: Builder, A: Value): Value {
  const [m, r] = A.shape as number[]
  const columns: Value[] = []
  let rest = A
  for (let k = 0; k < r; k++) {
    const below = g.constant(
      'float32',
      Array.from({ length: m }, (_, i) => Number(i >= k)),
      [m, 1],
    )
    const x = g.mul(g.slice(rest, k, k + 1, 1), below)
    const size = g.sqrt(g.sumAll(g.square(x)))
    const sign = g.stopGradient(
      g.where(g.less(g.slice(x, k, k + 1, 0), g.scalar(0)), g.scalar(-1), g.scalar(1)),
    )
    const unit = g.constant(
      'float32',
      Array.from({ length: m }, (_, i) => Number(i === k)),
      [m, 1],
    )
    const v = g.add(x, g.mul(g.mul(sign, size), unit))
    columns.push(g.div(v, g.sqrt(g.sumAll(g.square(v)))))
    rest = reflect(g, columns[k], rest)
  }
  const eye = g.slice(g.identity(m), 0, r, 1)
  return columns.reduceRight((q, v) => reflect(g, v, q), eye)
}
/** (I − 2vvᵀ)·a */
const reflect = (g: Builder, v: Value, a: Value): Value =>
  g.sub(a, g.scale(g.matMul(v, g.matMul(v, a, { transA: true })), 2))

/** The same on the host: Gram and Schmidt's directions, with those signs. */
export function orthonormalOf(A: Matrix): Matrix {
  const work = A.clone()
  const vectors: number[][] = []
  for (let k = 0; k < A.columns; k++) {
    const x = work.getColumn(k).map((v, i) => (i < k ? 0 : v))
    x[k] += (x[k] < 0 ? -1 : 1) * Math.hypot(...x)
    const size = Math.hypot(...x)
    vectors.push(x.map((v) => v / size))
    reflectInPlace(vectors[k], work)
  }
  const Q = Matrix.eye(A.rows, A.columns)
  for (const v of vectors.reverse()) reflectInPlace(v, Q)
  return Q
}
function reflectInPlace(v: readonly number[], a: Matrix): void {
  for (let j = 0; j < a.columns; j++) {
    const dot = v.reduce((sum, x, i) => sum + x * a.get(i, j), 0)
    v.forEach((x, i) => a.set(i, j, a.get(i, j) - 2 * x * dot))
  }
}
