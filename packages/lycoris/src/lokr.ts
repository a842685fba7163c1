import {
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  oneOf,
  targetedSchema,
  targets,
  zeros,
} from '@graft-peft/core'
import { type LycorisOptions, lycorisOptions, rankAndScale, trainingOptions, withDropout } from './shared.js'

export interface LokrOptions extends LycorisOptions {
  decompose_both: boolean
  decompose_factor: number
  rank_dropout_scale: boolean
  init_weights: boolean | 'lycoris'
}

/** ΔW = (α/r)·w1 ⊗ w2, factors decomposed where that is smaller (Yeh et al., 2023, arXiv 2309.14859); options as HF PEFT's LoKrConfig. */
export default definePeftMethod<LokrOptions>({
  name: 'lokr',
  apiVersion: 1,
  peftType: 'LOKR',
  family: 'low rank',
  summary: 'Kronecker product of two small factors',
  paper: 'https://arxiv.org/abs/2309.14859',
  learningRate: 2e-3,
  mergeable: true,
  trainingOptions,
  startsAsIdentity: ({ init_weights }) => init_weights !== false,
  configSchema: targetedSchema({
    ...lycorisOptions,
    decompose_both: flag(false),
    decompose_factor: { type: 'integer', minimum: -1, not: { const: 0 }, default: -1 },
    rank_dropout_scale: flag(false),
    init_weights: oneOf([true, false, 'lycoris'], true),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const { decompose_both, decompose_factor, init_weights } = options
    for (const site of targets(model, options)) {
      const { r, scale } = rankAndScale(site.path, options)
      const [outer, inner] = [
        factorise(site.outFeatures, decompose_factor),
        factorise(site.inFeatures, decompose_factor),
      ]
      const factor = (name: string, shape: number[], init: Initialiser) =>
        param(`${site.path}.lokr_${name}`, { shape, init })
      /** One factor, whole or as a product of rank r; the part named `zeroed` starts at zero. */
      const build = (
        name: string,
        [m, n]: [number, number],
        whole: boolean,
        starts: { whole: Initialiser; a: Initialiser; b: Initialiser },
      ) =>
        whole
          ? factor(name, [m, n], starts.whole)
          : g.matMul(factor(`${name}_a`, [m, r], starts.a), factor(`${name}_b`, [r, n], starts.b))
      const random = { whole: kaimingUniform, a: kaimingUniform, b: kaimingUniform }
      const small = decompose_both && r < Math.max(outer[0], inner[0]) / 2
      const w1 = build(
        'w1',
        [outer[0], inner[0]],
        !small,
        init_weights === true ? { ...random, whole: zeros, a: zeros } : random,
      )
      const low = r < Math.max(outer[1], inner[1]) / 2
      const w2 = build(
        'w2',
        [outer[1], inner[1]],
        !low,
        init_weights === 'lycoris' ? { ...random, whole: zeros, b: zeros } : random,
      )
      const blocks = g.mul(g.unsqueeze(w1, [1, 3]), g.unsqueeze(w2, [0, 2]))
      const delta = g.scale(g.reshape(blocks, [site.outFeatures, site.inFeatures]), scale)
      site.weight.add(withDropout(context, site, delta, options, options.rank_dropout_scale))
    }
    return { merge: () => [] }
  },
})

/** Two factors of a dimension, the smaller first: as close to each other as they go, or the first at most `limit` (HF PEFT's factorization). */
export function factorise(dimension: number, limit: number): [number, number] {
  if (limit > 0 && dimension % limit === 0) return [limit, dimension / limit]
  const most = limit === -1 ? dimension : limit
  let [m, n] = [1, dimension]
  while (m < n) {
    let next = m + 1
    while (dimension % next !== 0) next++
    if (next + dimension / next > 1 + dimension || next > most) break
    ;[m, n] = [next, dimension / next]
  }
  return m > n ? [n, m] : [m, n]
}
