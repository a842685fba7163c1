import {
  type BiasOption,
  biasOption,
  type Builder,
  byPattern,
  copyOf,
  constant,
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  pattern,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
  type WeightSlot,
  zeros,
} from '@graft-peft/core'

export interface DeloraOptions extends TargetOptions, BiasOption {
  r: number
  delora_lambda: number
  module_dropout: number
  rank_pattern: Record<string, number>
  lambda_pattern: Record<string, number>
  init_weights: boolean
}

/** ΔW = (λ/r)·Σᵢ bᵢaᵢᵀ/(‖bᵢ‖‖aᵢ‖), columns scaled as W's are: direction and strength apart (Bini et al., 2025, arXiv 2503.18225); options as HF PEFT's DeloraConfig. */
export default definePeftMethod<DeloraOptions>({
  name: 'delora',
  apiVersion: 1,
  peftType: 'DELORA',
  family: 'low rank',
  summary: 'low-rank update of unit directions and a learned strength',
  paper: 'https://arxiv.org/abs/2503.18225',
  learningRate: 1e-2,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(8),
    delora_lambda: real(15),
    module_dropout: share(0),
    rank_pattern: pattern,
    lambda_pattern: pattern,
    init_weights: flag(true),
    bias: biasOption('delora_only'),
  }),
  attach(context, options) {
    const { model, g, param, buffer, dropout } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = sites.map((site) => {
      const { path, inFeatures, outFeatures } = site
      const r = byPattern(path, options.rank_pattern, options.r)
      const strength = byPattern(path, options.lambda_pattern, options.delora_lambda)
      const A = param(`${path}.delora_A`, { shape: [r, inFeatures], init: kaimingUniform })
      const B = param(`${path}.delora_B`, {
        shape: [outFeatures, r],
        init: options.init_weights ? zeros : kaimingUniform,
      })
      const lambda = param(`${path}.delora_lambda`, { shape: [1], init: constant(strength) })
      const norms = buffer(`${path}.delora_w_norm`, {
        shape: [inFeatures],
        init: columnNorms(site.weight),
        stored: 'F32',
      })
      const sizes = g.mul(norm(g, A, 1), norm(g, B, 0))
      const scale = g.div(g.scale(lambda, 1 / r), sizes)
      site.output.map((y, x) => {
        const down = g.linear(g.mul(dropout(x, options.module_dropout, path), norms), A)
        return g.add(y, g.linear(g.mul(down, scale), B))
      })
      return { site, delta: () => g.mul(g.matMul(g.mul(B, scale), A), norms) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

/** Euclidean norms along an axis, at least 1e-4; below that no gradient goes back (HF PEFT clamps them). */
const norm = (g: Builder, a: Value, axis: number): Value =>
  g.sqrt(g.op('Max', [g.reduceSum(g.square(a), [axis], false), g.scalar(1e-8)]))

/** The norms of W's columns, one for each feature the layer reads. */
function columnNorms(slot: WeightSlot): Initialiser {
  const read = copyOf(slot)
  const [m, n] = slot.shape
  return (_, random) => {
    const w = read([m, n], random)
    return Float32Array.from({ length: n }, (_, j) =>
      Math.sqrt(Array.from({ length: m }, (_, i) => w[i * n + j] ** 2).reduce((a, b) => a + b, 0)),
    )
  }
}
