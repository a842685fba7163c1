import {
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  normal,
  NumpyRandom,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  uniform,
  whole,
} from '@graft-peft/core'

export interface UniloraOptions extends TargetOptions, BiasOption {
  r: number
  proj_seed: number
  theta_d_length: number
  unilora_dropout: number
  init_theta_d_bound: number
  save_indices: boolean
  init_weights: boolean
}

/** ΔW = B·A, every entry of all layers' A and B one of the few numbers of a single vector θ (Li et al., 2025, arXiv 2506.00799);
 *  options as HF PEFT's UniLoraConfig. */
export default definePeftMethod<UniloraOptions>({
  name: 'unilora',
  apiVersion: 1,
  peftType: 'UNILORA',
  family: 'shared',
  summary: 'one short vector, dealt out over all low-rank updates',
  paper: 'https://arxiv.org/abs/2506.00799',
  learningRate: 5e-3,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  startsAsIdentity: () => false,
  configSchema: targetedSchema({
    r: positive(4),
    proj_seed: whole(42),
    theta_d_length: positive(256),
    unilora_dropout: share(0),
    init_theta_d_bound: { ...real(0.02), exclusiveMinimum: 0 },
    save_indices: flag(false),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('unilora_only'),
  }),
  attach(context, options) {
    const { model, g, param, buffer, dropout } = context
    const { r, theta_d_length: length, save_indices, init_theta_d_bound } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const theta = param('unilora_theta_d', {
      shape: [length],
      init: options.init_weights ? uniform(init_theta_d_bound) : normal(1),
      key: 'base_model.unilora_theta_d',
    })
    const total = r * sites.reduce((sum, s) => sum + s.inFeatures + s.outFeatures, 0)
    const deal = dealt(total, options)
    let next = 0
    /** θ at the next places, each number divided by the root of how often it is dealt. */
    const matrix = (name: string, path: string, shape: [number, number]) => {
      const start = next
      next += shape[0] * shape[1]
      const own = (numbers: Float32Array) => numbers.subarray(start, start + shape[0] * shape[1])
      const at = buffer(`${path}.unilora_indices_${name}`, {
        shape,
        init: () => own(deal().places),
        stored: save_indices && 'I64',
      })
      const scale = buffer(`${path}.unilora_scales_${name}`, {
        shape,
        init: () => own(deal().scales),
        stored: save_indices && 'F32',
      })
      return g.mul(g.gather(theta, g.cast(at, 'int64')), scale)
    }
    const adapted = sites.map((site) => {
      const { path, inFeatures, outFeatures } = site
      const [A, B] = [matrix('A', path, [r, inFeatures]), matrix('B', path, [outFeatures, r])]
      site.output.map((y, x) => g.add(y, g.linear(g.linear(dropout(x, options.unilora_dropout, path), A), B)))
      return { site, delta: () => g.matMul(B, A) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

interface Dealt {
  places: Float32Array
  scales: Float32Array
}
/** Which number of θ each entry gets: all equally often, shuffled by numpy's generator as HF PEFT does. Drawn once, when first asked for. */
function dealt(total: number, { theta_d_length: length, proj_seed }: UniloraOptions): () => Dealt {
  let made: Dealt | undefined
  const draw = (): Dealt => {
    const random = new NumpyRandom(proj_seed)
    const each = Math.floor(total / length)
    const places = Uint32Array.from({ length: total }, (_, i) => Math.floor(i / each))
    places.set(random.choose(length, total % length), each * length)
    random.shuffle(places)
    const often = new Uint32Array(length)
    for (const i of places) often[i]++
    return {
      places: Float32Array.from(places),
      scales: Float32Array.from(places, (i) => 1 / Math.sqrt(often[i])),
    }
  }
  return () => (made ??= draw())
}
