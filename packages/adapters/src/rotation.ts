import {
  type AttachContext,
  type Builder,
  type Initialiser,
  moduleKey,
  numbersIn,
  type Value,
  zeros,
} from '@graft-peft/core'
import { Matrix, QrDecomposition } from 'ml-matrix'

/** A matrix with orthonormal rows, and how a file holds it. */
export interface Rotation {
  R: Value
  /** what the file holds in place of what is trained */
  saved: [key: string, value: Value][]
  /** keys of what the file doesn't hold */
  dropped: string[]
}

/**
 * R [r, n]. What is trained are r Householder vectors, which turn the rows that R starts from: as torch's parametrization `orthogonal` does,
 * whose basis, a square as wide as the model, is here made of reflections too. A file holds R itself.
 */
export function rotation(
  { g, param, buffer, inference }: AttachContext,
  path: string,
  r: number,
  n: number,
): Rotation {
  const name = `${path}.weight`
  if (inference) return { R: param(name, { shape: [r, n], init: rows }), saved: [], dropped: [] }
  const start = buffer(name, { shape: [r, n], init: rows, stored: 'F32', replaced: true })
  const trained = param(`${path}.original`, { shape: [r, n], init: zeros })
  const R = g.swapLast(fromStart(g, numbersIn(start), turned(g, trained, [r, n])))
  return { R, saved: [[moduleKey(name), R]], dropped: [moduleKey(`${path}.original`)] }
}

/** Orthonormal rows in a random direction. */
const rows: Initialiser = ([r, n], random) => {
  const { orthogonalMatrix } = new QrDecomposition(Matrix.rand(n, r, { random: () => random.normal() }))
  return Float32Array.from(orthogonalMatrix.transpose().to1DArray())
}

/** (I − 2vvᵀ/‖v‖²)·a; v [n, 1] */
const reflect = (g: Builder, v: Value, a: Value, size: Value): Value =>
  g.sub(a, g.mul(g.div(g.scalar(2), size), g.matMul(v, g.matMul(v, a, { transA: true }))))
const unit = (g: Builder, n: number, k: number) =>
  g.constant(
    'float32',
    Array.from({ length: n }, (_, i) => Number(i === k)),
    [n, 1],
  )

/** −H₁…Hᵣ·I, its first r columns: I while the vectors are zero but for their ones. */
function turned(g: Builder, trained: Value, [r, n]: readonly [number, number]): Value {
  const below = Array.from({ length: r * n }, (_, i) => Number(i % n > Math.floor(i / n)))
  const vectors = g.mul(trained, g.constant('float32', below, [r, n]))
  let q = g.neg(g.slice(g.identity(n), 0, r, 1))
  for (let k = r - 1; k >= 0; k--) {
    const v = g.add(g.swapLast(g.slice(vectors, k, k + 1, 0)), unit(g, n, k))
    q = reflect(g, v, q, g.sumAll(g.square(v)))
  }
  return q
}

/** P₁…Pᵣ·S·q, where P₁…Pᵣ·S are the reflections whose first columns are the rows R started from. */
function fromStart(g: Builder, start: Float32Array, q: Value): Value {
  const [n, r] = q.shape as number[]
  const { vectors, signs } = reflections(start, r, n)
  const all = Float32Array.from({ length: n }, (_, i) => (i < r ? signs[i] : 1))
  const signed = g.mul(q, g.constant('float32', [...all], [n, 1]))
  return vectors.reduceRight((a, v) => reflect(g, g.constant('float32', v, [n, 1]), a, g.scalar(1)), signed)
}

/** Householder's vectors of unit length for the matrix whose columns these rows are, with the signs that LAPACK gives them. */
function reflections(start: Float32Array, r: number, n: number) {
  const columns = Array.from({ length: r }, (_, k) => [...start.subarray(k * n, (k + 1) * n)])
  const vectors: number[][] = []
  const signs: number[] = []
  for (let k = 0; k < r; k++) {
    const x = columns[k].map((v, i) => (i < k ? 0 : v))
    const sign = x[k] < 0 ? -1 : 1
    x[k] += sign * Math.hypot(...x)
    const size = Math.hypot(...x)
    const v = x.map((each) => each / size)
    for (const column of columns) {
      const dot = v.reduce((sum, each, i) => sum + each * column[i], 0)
      v.forEach((each, i) => (column[i] -= 2 * each * dot))
    }
    vectors.push(v)
    signs.push(-sign)
  }
  return { vectors, signs }
}
