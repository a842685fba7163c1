import { NumpyRandomState } from '@graft-peft/core'
import { Matrix } from 'ml-matrix'

/**
 * scikit-learn's KMeans(n_clusters, init='random', n_init=1, max_iter, random_state): which of `count` clusters each row belongs to.
 * The same draws and rounds (sklearn/cluster/_kmeans.py), in double precision.
 */
export function clusters(rows: Matrix, count: number, rounds: number, seed: number): number[] {
  const points = Matrix.sub(rows, Matrix.ones(rows.rows, 1).mmul(Matrix.rowVector(rows.mean('column'))))
  const spread = points.to1DArray().reduce((sum, v) => sum + v * v, 0)
  const tolerance = (1e-4 * spread) / (points.rows * points.columns)
  let centres = new Matrix(chosen(rows.rows, count, seed).map((i) => points.getRow(i)))
  let before: number[] = []
  for (let round = 0; round < rounds; round++) {
    const labels = nearest(points, centres)
    const moved = means(points, centres, labels)
    const shift = Matrix.sub(moved, centres)
      .to1DArray()
      .reduce((sum, v) => sum + v * v, 0)
    centres = moved
    if (labels.every((label, i) => label === before[i])) return labels
    if (shift <= tolerance) break
    before = labels
  }
  return nearest(points, centres)
}

/** RandomState(seed).choice(n, count, replace=False, p=1/n): numbers on a line of equal shares, those that are taken left out. */
function chosen(n: number, count: number, seed: number): number[] {
  const random = new NumpyRandomState(seed)
  const taken: number[] = []
  while (taken.length < count) {
    const drawn = Array.from({ length: count - taken.length }, () => random.unit())
    const free = Array.from({ length: n }, (_, i) => i).filter((i) => !taken.includes(i))
    const found = drawn.map((x) => free[Math.min(Math.floor(x * free.length), free.length - 1)])
    taken.push(...new Set(found))
  }
  return taken
}

const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0)

function nearest(points: Matrix, centres: Matrix): number[] {
  const all = centres.to2DArray()
  return points.to2DArray().map((point) => {
    const far = all.map((centre) => distance(point, centre))
    return far.indexOf(Math.min(...far))
  })
}

/** Each cluster's mean; one that nothing belongs to starts again from the point farthest from its own. */
function means(points: Matrix, centres: Matrix, labels: number[]): Matrix {
  const [count, width] = [centres.rows, centres.columns]
  const sums = Matrix.zeros(count, width)
  const sizes = new Array<number>(count).fill(0)
  const add = (label: number, i: number, sign: number) => {
    sums.setRow(label, Matrix.add(sums.getRowVector(label), points.getRowVector(i).mul(sign)).to1DArray())
    sizes[label] += sign
  }
  labels.forEach((label, i) => add(label, i, 1))
  const far = labels
    .map((label, i) => ({ i, far: distance(points.getRow(i), centres.getRow(label)) }))
    .sort((a, b) => b.far - a.far)
  sizes.forEach((size, label) => {
    const point = size === 0 ? far.shift() : undefined
    if (!point) return
    add(labels[point.i], point.i, -1)
    add(label, point.i, 1)
  })
  return sums.divColumnVector(sizes.map((size) => size || 1))
}
