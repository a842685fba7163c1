import {
  bfloat16,
  type BiasOption,
  biasOption,
  constant,
  definePeftMethod,
  flag,
  type Initialiser,
  type LinearSite,
  positive,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  whole,
  zeros,
  only,
} from '@graft-peft/core'

export interface RandLoraOptions extends TargetOptions, BiasOption {
  r: number
  randlora_alpha: number
  projection_prng_key: number
  save_projection: boolean
  sparse: boolean
  very_sparse: boolean
  randlora_dropout: number
}

/** ΔW = (α/r)·Σⱼ Bⱼ·Λⱼ·A·Γⱼ over enough random bases for full rank (Albert et al., 2025, arXiv 2502.00987); as HF PEFT's RandLoraConfig. */
export default definePeftMethod<RandLoraOptions>({
  name: 'randlora',
  apiVersion: 1,
  peftType: 'RANDLORA',
  family: 'shared',
  summary: 'full-rank update from scaled random bases',
  paper: 'https://arxiv.org/abs/2502.00987',
  learningRate: 1e-3,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  trainingOptions: ['randlora_dropout', 'init_weights'],
  startsAsIdentity: () => true,
  configSchema: targetedSchema({
    r: positive(32),
    randlora_alpha: positive(640),
    projection_prng_key: whole(0),
    save_projection: flag(true),
    sparse: flag(false),
    very_sparse: flag(false),
    randlora_dropout: share(0),
    fan_in_fan_out: flag(false),
    bias: biasOption('randlora_only'),
    init_weights: only(true, 'another start is for tests of HF PEFT'),
  }),
  attach(context, options) {
    const { model, g, param, buffer, dropout } = context
    const { r, randlora_alpha, save_projection, randlora_dropout } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const [out, into] = [
      Math.max(...sites.map((s) => s.outFeatures)),
      Math.max(...sites.map((s) => s.inFeatures)),
    ]
    const [short, long] = [Math.min(out, into), Math.max(out, into)]
    const count = Math.ceil(short / r)
    const [initA, initB] = bases(options, short, long, count)
    const stored = save_projection ? 'F32' : false
    const A = buffer('randlora_A', {
      shape: [r, 1, short],
      init: initA,
      stored,
      key: 'base_model.randlora_A',
    })
    const B = buffer('randlora_B', {
      shape: [long, count, r],
      init: initB,
      stored,
      key: 'base_model.randlora_B',
    })
    /** The two factors of a layer's update, in the order x meets them: [k, in] and [out, k]. */
    const factors = (site: LinearSite) => {
      const [low, high] = [
        Math.min(site.inFeatures, site.outFeatures),
        Math.max(site.inFeatures, site.outFeatures),
      ]
      const n = Math.ceil(low / r)
      const lambda = param(`${site.path}.randlora_lambda`, { shape: [r, n], init: zeros })
      const gamma = param(`${site.path}.randlora_gamma`, {
        shape: [n, low],
        init: constant(1 / Math.max(n, low)),
      })
      const scaled = g.reshape(
        g.mul(g.mul(g.unsqueeze(lambda, [2]), g.slice(A, 0, low, 2)), g.unsqueeze(gamma, [0])),
        [r * n, low],
      )
      const fixed = g.reshape(g.slice(g.slice(B, 0, high, 0), 0, n, 1), [high, n * r])
      return low === site.inFeatures
        ? { down: scaled, up: fixed }
        : { down: g.swapLast(fixed), up: g.swapLast(scaled) }
    }
    const scale = randlora_alpha / r
    const adapted = sites.map((site) => {
      const { down, up } = factors(site)
      site.output.map((y, x) =>
        g.add(y, g.scale(g.linear(g.linear(dropout(x, randlora_dropout, site.path), down), up), scale)),
      )
      return { site, down, up }
    })
    return {
      merge: () =>
        adapted.map(({ site, down, up }) => [
          site.weight,
          (w) => g.add(w, g.scale(g.matMul(up, down), scale)),
        ]),
    }
  },
})

/** The shared bases as HF PEFT draws them, divided by their standard deviation: uniform and in bfloat16, or ternary where sparse. */
function bases(
  { projection_prng_key, r, sparse, very_sparse }: RandLoraOptions,
  short: number,
  long: number,
  count: number,
): [Initialiser, Initialiser] {
  const random = new TorchRandom(projection_prng_key)
  if (sparse || very_sparse) {
    const edge = 1 / (2 * (very_sparse ? Math.sqrt(short) : 3))
    const ternary = (size: number) =>
      standardised(
        Float32Array.from({ length: size }, () => random.unit()).map((u) =>
          u < edge ? -1 : u > 1 - edge ? 1 : 0,
        ),
      )
    const [a, b] = [ternary(r * short), ternary(long * count * r)]
    return [() => a, () => b]
  }
  const a = standardised(random.uniformBfloat16(r * short, 1 / Math.sqrt(short)), bfloat16)
  const b = new Float32Array(long * count * r)
  for (let k = 0; k < count; k++)
    random
      .uniformBfloat16(long * r, 1 / Math.sqrt(r))
      .forEach((v, i) => (b[(Math.floor(i / r) * count + k) * r + (i % r)] = v))
  const scaled = standardised(b, bfloat16)
  return [() => a, () => scaled]
}
function standardised(values: Float32Array, round = (v: number) => v): Float32Array {
  const mean = values.reduce((s, v) => s + v, 0) / values.length
  const deviation = round(Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (values.length - 1)))
  return values.map((v) => round(v / deviation))
}
