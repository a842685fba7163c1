import {
  type BiasOption,
  biasOption,
  type AttachContext,
  type Builder,
  copyOf,
  definePeftMethod,
  type EmbeddingSite,
  flag,
  type Initialiser,
  type LinearSite,
  oneOf,
  positive,
  principal,
  Random,
  real,
  roundHalfEven,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  uniform,
  type Value,
  type WeightSlot,
  whole,
  zeros,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'

export interface TinyloraOptions extends TargetOptions, BiasOption {
  r: number
  u: number
  weight_tying: number
  projection_seed: number
  save_projection: boolean
  init_v_bound: number
  tinylora_dropout: number
  init_weights: true | 'uniform'
}

/** ΔW = B·(Σᵢ vᵢPᵢ)·A: W's principal directions, random fixed Pᵢ, a few learned numbers v, shared by layers at will
 *  (Morris et al., 2026, arXiv 2602.04118); options as HF PEFT's TinyLoraConfig. */
export default definePeftMethod<TinyloraOptions>({
  name: 'tinylora',
  apiVersion: 1,
  peftType: 'TINYLORA',
  family: 'shared',
  summary: 'a few numbers mix random turns of principal directions',
  paper: 'https://arxiv.org/abs/2602.04118',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  startsAsIdentity: ({ init_weights }) => init_weights === true,
  configSchema: targetedSchema({
    r: positive(2),
    u: positive(64),
    weight_tying: { type: 'number', minimum: 0, maximum: 1, default: 0 },
    projection_seed: whole(42),
    save_projection: flag(true),
    init_v_bound: real(0.02),
    tinylora_dropout: share(0),
    init_weights: oneOf([true, 'uniform'], true),
    fan_in_fan_out: flag(false),
    bias: biasOption('tinylora_only'),
  }),
  attach(context, options) {
    const { model, g, dropout } = context
    const sites = targets(model, options, { among: [...model.embeddings, ...model.linears] })
    trainBiases(context, sites, options.bias)
    const groups = Math.max(1, roundHalfEven(sites.length * (1 - options.weight_tying)))
    const size = Math.max(1, Math.floor(sites.length / groups))
    const adapted = sites.map((site, i) => {
      const group = Math.min(Math.floor(i / size), groups - 1)
      const { A, B, R } = factors(context, site, options, i, group)
      const drop = (v: Value) => dropout(v, options.tinylora_dropout, site.path)
      if (site.kind === 'linear')
        site.output.map((y, x) => g.add(y, g.linear(g.linear(g.linear(drop(x), A), R), B)))
      else site.output.map((y, ids) => g.add(y, g.matMul(g.matMul(drop(g.gather(B, ids)), R), A)))
      return { site, delta: () => g.matMul(g.matMul(B, R), A) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

function factors(
  { g, param, buffer }: AttachContext,
  { path, weight }: LinearSite | EmbeddingSite,
  { r: wanted, u, projection_seed, save_projection, init_weights, init_v_bound }: TinyloraOptions,
  place: number,
  group: number,
): { A: Value; B: Value; R: Value } {
  const [m, n] = weight.shape
  const r = Math.min(wanted, m, n)
  const start = halves(weight, r)
  const A = buffer(`${path}.tinylora_A`, { shape: [r, n], init: () => start().A, stored: 'F32' })
  const B = buffer(`${path}.tinylora_B`, { shape: [m, r], init: () => start().B, stored: 'F32' })
  const P = buffer(`${path}.tinylora_P`, {
    shape: [u, r, r],
    init: () => new TorchRandom(projection_seed + place).normal(u * r * r, 1 / Math.sqrt(r)),
    stored: save_projection ? 'F32' : false,
  })
  const v = param(`tinylora_v.${group}`, {
    shape: [u],
    init: init_weights === true ? zeros : uniform(init_v_bound),
    key: `base_model.tinylora_v.${group}`,
  })
  return { A, B, R: mixture(g, v, P, u, r) }
}
const mixture = (g: Builder, v: Value, P: Value, u: number, r: number): Value =>
  g.reshape(g.matMul(g.unsqueeze(v, [0]), g.reshape(P, [u, r * r])), [r, r])

/** U√Σ and √ΣVᵀ of the first r singular values: made once, when a buffer first asks. */
function halves(slot: WeightSlot, r: number): () => { A: Float32Array; B: Float32Array } {
  const read: Initialiser = copyOf(slot)
  const [m, n] = slot.shape
  let made: { A: Float32Array; B: Float32Array } | undefined
  return () => {
    if (made) return made
    const { U, s, V } = principal(Matrix.from1DArray(m, n, read([m, n], new Random(0))), r)
    const half = (vectors: Matrix) => (i: number, k: number) => vectors.get(i, k) * Math.sqrt(s[k])
    const [left, right] = [half(U), half(V)]
    made = {
      A: Float32Array.from({ length: r * n }, (_, i) => right(i % n, Math.floor(i / n))),
      B: Float32Array.from({ length: m * r }, (_, i) => left(Math.floor(i / r), i % r)),
    }
    return made
  }
}
