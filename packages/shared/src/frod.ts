import {
  type AttachContext,
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  type LinearSite,
  normal,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  type Value,
  whole,
  zeros,
  only,
} from '@graft-peft/core'
import { inBasis, jointBasis, kinds, matrixOf } from './joint-basis.js'

export interface FrodOptions extends TargetOptions, BiasOption {
  projection_prng_key: number
  frod_dropout: number
  sparse_rate: number
  regularization_alpha: number
  init_weights: boolean
}

/** W = U·(Λ + S)·Vᵀ: V a basis that layers of a kind share, U fixed, a diagonal and a few entries beside it trained
 *  (AAAI 2026, v40i31.39813); options as HF PEFT's FrodConfig. */
export default definePeftMethod<FrodOptions>({
  name: 'frod',
  apiVersion: 1,
  peftType: 'FROD',
  family: 'shared',
  summary: 'trains a diagonal and a few entries in a basis that layers share',
  learningRate: 1e-2,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    projection_prng_key: whole(0),
    save_projection: only(true, "eigenvectors are free up to a sign, and can't be made again"),
    frod_dropout: share(0),
    sparse_rate: { type: 'number', minimum: 0, maximum: 1, default: 0.01 },
    regularization_alpha: { ...real(1e-3), minimum: 0 },
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('frod_only'),
    progressbar: flag(true),
    runtime_offload_base_weight: only(false, 'weights are read where they lie; there is nothing to move'),
  }),
  attach(context, options) {
    const { model, g, dropout } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = [...kinds(sites)].flatMap(([kind, alike]) => {
      const shared = sharedParts(context, kind, alike, options)
      return alike.map((site) => {
        const { U, middle } = ownParts(context, site, shared, options)
        const weight = () => g.matMul(U, g.linear(middle, shared.V))
        const apply = (x: Value) => g.linear(g.linear(g.matMul(x, shared.V), middle), U)
        const p = options.frod_dropout
        const base = site.weight.value
        site.output.map((y, x) => {
          if (p > 0)
            return g.add(y, g.sub(apply(dropout(x, p, site.path)), g.linear(dropout(x, p, site.path), base)))
          return site.bias ? g.add(apply(x), site.bias.value) : apply(x)
        })
        return { site, weight }
      })
    })
    return { merge: () => adapted.map(({ site, weight }) => [site.weight, weight]) }
  },
})

interface Shared {
  V: Value
  places: Value
}
function sharedParts(
  { buffer }: AttachContext,
  kind: string,
  sites: readonly LinearSite[],
  { projection_prng_key, sparse_rate, regularization_alpha }: FrodOptions,
): Shared {
  const n = sites[0].inFeatures
  const key = (part: string) => `base_model.frod_${part}.${kind}`
  const wanted = Math.min(Math.trunc(n * n * sparse_rate), n * n - n)
  const count = sparse_rate > 0 ? Math.max(1, wanted) : 0
  const weights = sites.map(matrixOf)
  const V = buffer(`frod_V.${kind}`, {
    shape: [n, n],
    init: () =>
      jointBasis(
        weights.map((w) => w()),
        regularization_alpha,
      ),
    stored: 'F32',
    key: key('V'),
  })
  /** Places beside the diagonal. */
  const draw = () => {
    const drawn = [...new TorchRandom(projection_prng_key).permutation(n * n - n, count)]
    const rows = drawn.map((k) => Math.floor(k / (n - 1)))
    return Float32Array.from([
      ...rows,
      ...drawn.map((k, i) => (k % (n - 1)) + Number(k % (n - 1) >= rows[i])),
    ])
  }
  const places = buffer(`frod_s_indices.${kind}`, {
    shape: [2, count],
    init: draw,
    stored: 'I64',
    key: key('s_indices'),
  })
  buffer(`frod_s_size.${kind}`, {
    shape: [2],
    init: () => Float32Array.of(n, n),
    stored: 'I64',
    key: key('s_size'),
  })
  return { V, places }
}

function ownParts(
  { g, param, buffer }: AttachContext,
  site: LinearSite,
  { V, places }: Shared,
  options: FrodOptions,
) {
  const { path, inFeatures: n, outFeatures: m } = site
  const parts = inBasis(site, V)
  const U = buffer(`${path}.frod_U`, { shape: [m, n], init: () => parts().U, stored: false })
  const diagonal = param(`${path}.frod_lambda_l`, {
    shape: [n],
    init: (_, random) => parts().lengths.map((v) => v + (options.init_weights ? 0 : 0.1 * random.normal())),
  })
  const values = param(`${path}.frod_lambda_s_values`, {
    shape: [places.shape?.[1] as number],
    init: options.init_weights ? zeros : normal(0.1),
  })
  const beside = g.op('ScatterND', [g.zeros([n, n]), g.swapLast(places), values])
  return { U, middle: g.add(beside, g.mul(g.identity(n), diagonal)) }
}
