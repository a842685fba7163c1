import {
  GraftError,
  type LinearSite,
  type PrepareContext,
  principal,
  shapeOf,
  type Tensors,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'
import type { LoraOptions } from './options.js'

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
  { model, g, run, batches, masks }: PrepareContext,
  sites: readonly LinearSite[],
  { r, eva_config }: Pick<LoraOptions, 'r' | 'eva_config'>,
): Promise<Map<string, Explained>> {
  const rho = eva_config?.rho ?? 2
  const ids = model.graph.inputs.find((v) => v.name === 'input_ids')
  const counted = ids && g.graph.addInput('counted', 'float32', shapeOf(ids))
  const wanted = Object.fromEntries(
    sites.flatMap(({ input: { value }, inFeatures }, i) => {
      // Padding says nothing of the data, nor, as in HF PEFT, do tokens that aren't learnt; a decoder's own positions aren't masked.
      const fits = counted && `${shapeOf(value).slice(0, 2)}` === `${shapeOf(counted)}`
      const mask = fits ? g.reshape(counted, [-1, 1]) : undefined
      const all = g.reshape(value, [-1, inFeatures])
      const rows = mask ? g.mul(all, mask) : all
      const count = mask
        ? g.reduceSum(mask, [0], false)
        : g.cast(g.op('Shape', [rows], { start: 0, end: 1 }), 'float32')
      return [
        [`gram_${i}`, g.matMul(rows, rows, { transA: true })],
        [`sum_${i}`, g.reduceSum(rows, [0], false)],
        [`count_${i}`, count],
      ]
    }),
  )
  const found: Tensors[] = []
  const [all, positions] = [await batches(batchCount), await masks(batchCount)]
  for (const [k, feeds] of all.entries())
    found.push(await run(wanted, counted ? { ...feeds, counted: positions[k] } : feeds))
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
