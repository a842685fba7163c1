import {
  type BiasOption,
  biasOption,
  constant,
  definePeftMethod,
  flag,
  normal,
  ones,
  type Initialiser,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  whole,
  zeros,
} from '@graft-peft/core'

export interface VeraOptions extends TargetOptions, BiasOption {
  r: number
  projection_prng_key: number
  save_projection: boolean
  vera_dropout: number
  d_initial: number
  init_weights: boolean
}

/** y + λb ⊙ B·(λd ⊙ A·x), A and B random, frozen and shared by all layers (Kopiczko et al., 2023, arXiv 2310.11454); as HF PEFT's VeraConfig. */
export default definePeftMethod<VeraOptions>({
  name: 'vera',
  apiVersion: 1,
  peftType: 'VERA',
  family: 'shared',
  summary: 'learned scales of shared random projections',
  paper: 'https://arxiv.org/abs/2310.11454',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  trainingOptions: ['vera_dropout', 'd_initial', 'init_weights'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(256),
    projection_prng_key: whole(0),
    save_projection: flag(true),
    vera_dropout: share(0),
    d_initial: real(0.1),
    fan_in_fan_out: flag(false),
    bias: biasOption('vera_only'),
    init_weights: flag(true),
  }),
  attach(context, options) {
    const { model, g, param, buffer, dropout } = context
    const { r, d_initial, save_projection } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const [widest, tallest] = [
      Math.max(...sites.map((s) => s.inFeatures)),
      Math.max(...sites.map((s) => s.outFeatures)),
    ]
    const [initA, initB] = projections(options.projection_prng_key, [r, widest], [tallest, r])
    const stored = save_projection ? 'F32' : false
    const A = buffer('vera_A', { shape: [r, widest], init: initA, stored, key: 'base_model.vera_A' })
    const B = buffer('vera_B', { shape: [tallest, r], init: initB, stored, key: 'base_model.vera_B' })
    const adapted = sites.map((site) => {
      const d = param(`${site.path}.vera_lambda_d`, {
        shape: [r],
        init: options.init_weights ? constant(d_initial) : normal(1),
      })
      const b = param(`${site.path}.vera_lambda_b`, {
        shape: [site.outFeatures],
        init: options.init_weights ? zeros : ones,
      })
      const [a, up] = [g.slice(A, 0, site.inFeatures, 1), g.slice(B, 0, site.outFeatures, 0)]
      site.output.map((y, x) =>
        g.add(y, g.mul(g.linear(g.mul(g.linear(dropout(x, options.vera_dropout, site.path), a), d), up), b)),
      )
      return { site, delta: () => g.matMul(g.mul(up, g.unsqueeze(b, [1])), g.mul(a, g.unsqueeze(d, [1]))) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

type Shape = readonly [rows: number, columns: number]
/** HF PEFT draws A, then B, from one generator: kaiming uniform with gain √2. */
export function projections(key: number, A: Shape, B: Shape): [Initialiser, Initialiser] {
  const random = new TorchRandom(key)
  const draw = ([rows, columns]: Shape) => random.uniform(rows * columns, Math.sqrt(6 / columns))
  const [a, b] = [draw(A), draw(B)]
  return [() => a, () => b]
}
