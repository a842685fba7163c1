import { GraftError, type LinearSite, type PrepareContext, type Tensors, principal } from '@graft-peft/core'
import { Matrix } from 'ml-matrix'

/** What EVA finds for one layer: how many components of its inputs to adapt, and which. */
export interface Explained {
  rank: number
  /** [rank, in], orthonormal */
  A: Float32Array
}
const batchCount = 8

/**
 * Explained-variance adaptation (Paischer et al., 2024, arXiv 2410.07170): A starts from the principal components of each layer's
 * inputs on the first batches of the data, and ranks go where they explain most: at most rho·r a layer, r a layer on the whole.
 */
export async function eva(
  { g, run, batches }: PrepareContext,
  sites: readonly LinearSite[],
  r: number,
  rho: number,
): Promise<Map<string, Explained>> {
  const wanted = Object.fromEntries(
    sites.flatMap(({ input: { value }, inFeatures }, i) => {
      const rows = g.reshape(value, [-1, inFeatures])
      return [
        [`gram_${i}`, g.matMul(rows, rows, { transA: true })],
        [`sum_${i}`, g.reduceSum(rows, [0], false)],
        [`count_${i}`, g.cast(g.op('Shape', [rows], { start: 0, end: 1 }), 'float32')],
      ]
    }),
  )
  const found: Tensors[] = []
  for (const feeds of await batches(batchCount)) found.push(await run(wanted, feeds))
  if (found.length === 0)
    throw new GraftError('NO_DATA', 'init_lora_weights: eva looks at the training data, and there is none.')
  const total = (name: string): Float64Array =>
    found
      .map((t) => Float64Array.from(t[name].data as Float32Array))
      .reduce((a, b) => a.map((v, i) => v + b[i]))
  const parts = sites.map(({ path, inFeatures: n }, i) => {
    const [sum, [count]] = [total(`sum_${i}`), total(`count_${i}`)]
    const covariance = Matrix.from1DArray(
      n,
      n,
      total(`gram_${i}`).map((v, k) => (v - (sum[Math.floor(k / n)] * sum[k % n]) / count) / count),
    )
    const { s, V } = principal(covariance, Math.min(n, Math.ceil(r * rho)))
    return { path, n, V, shares: s.slice(0, Math.ceil(r * rho)).map((v) => v / covariance.trace()) }
  })
  const chosen = parts
    .flatMap(({ path, shares }) => shares.map((share) => ({ path, share })))
    .sort((a, b) => b.share - a.share)
  const kept = chosen.slice(0, r * sites.length)
  return new Map(
    parts.map(({ path, n, V }) => {
      const rank = kept.filter((c) => c.path === path).length
      return [
        path,
        { rank, A: Float32Array.from({ length: rank * n }, (_, k) => V.get(k % n, Math.floor(k / n))) },
      ]
    }),
  )
}
