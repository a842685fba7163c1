import { copyOf, type LinearSite, lowRankSvd, principal, Random } from '@graft-peft/core'
import { Matrix, QrDecomposition } from 'ml-matrix'
import { clusters } from './k-means.js'

/** The options of AdaMSS that say what is trained. */
export interface SubspaceOptions {
  r: number
  num_subspaces: number
  subspace_rank: number
  use_dynamic_rank: boolean
  svd_threshold: number
  random_seed: number
}
/** A layer's greatest singular directions, and which of its outputs lie alike in them. */
export interface Subspaces {
  /** [width, in], in with a column for the bias where there is one */
  directions: Float32Array
  width: number
  /** the group of each output */
  labels: readonly number[]
  /** [out, width] */
  U: Matrix
}
/** What is trained of one group of outputs. */
export interface Group {
  outputs: readonly number[]
  rank: number
  /** orthonormal [rank, width]: the directions in which the outputs lie */
  start: Float32Array
}

const known = new WeakMap<object, Map<string, Subspaces>>()
/** The subspaces of [W b]. They say how large the variables are, so every attachment asks: what was found is kept as long as the weight is. */
export function subspacesOf(site: LinearSite, options: SubspaceOptions): Subspaces {
  const key = `${[options.r, options.num_subspaces, options.random_seed, site.weight.transposed]}`
  const owner = site.weight.constant?.data ?? {}
  const found = known.get(owner) ?? new Map<string, Subspaces>()
  known.set(owner, found)
  const made = found.get(key) ?? decomposed(site, options)
  found.set(key, made)
  return made
}

function decomposed(site: LinearSite, { r, num_subspaces, random_seed }: SubspaceOptions): Subspaces {
  const W = withBias(site)
  const width = Math.min(r, W.rows, W.columns)
  const { U, V } = lowRankSvd(W, width, 2, random_seed)
  // The seed is scikit-learn's there, whatever random_seed says.
  const labels = clusters(U, Math.min(num_subspaces, W.rows), 10, 123456789)
  return { directions: Float32Array.from(V.transpose().to1DArray()), width, labels, U }
}

function withBias({ weight, bias, outFeatures: m, inFeatures: n }: LinearSite): Matrix {
  const W = Matrix.from1DArray(m, n, copyOf(weight)([m, n], new Random(0)))
  return bias ? W.addColumn(n, Array.from(copyOf(bias)([m], new Random(0)))) : W
}

/** The groups that labels say, each with its rank. */
export function groupsOf(U: Matrix, labels: readonly number[], options: SubspaceOptions): Group[] {
  return Array.from({ length: Math.max(...labels) + 1 }, (_, label) => {
    const outputs = labels.flatMap((l, i) => (l === label ? [i] : []))
    return group(U, outputs, options)
  })
}
function group(U: Matrix, outputs: number[], options: SubspaceOptions): Group {
  const all = Array.from({ length: U.columns }, (_, i) => i)
  const part = U.selection(outputs, all)
  const { U: inner, s } = principal(part.mmul(part.transpose()), outputs.length)
  const large = s.filter((v) => v > options.svd_threshold * s[0]).length
  const most = Math.min(outputs.length, options.subspace_rank)
  const rank = Math.max(1, options.use_dynamic_rank ? Math.min(large, most) : most)
  const spanned = part.transpose().mmul(inner.subMatrix(0, outputs.length - 1, 0, rank - 1))
  const start = new QrDecomposition(spanned).orthogonalMatrix.transpose()
  return { outputs, rank, start: Float32Array.from(start.to1DArray()) }
}
