import {
  type BiasOption,
  biasOption,
  constant,
  definePeftMethod,
  flag,
  normal,
  ones,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  whole,
  zeros,
  only,
} from '@graft-peft/core'
import { projections } from './vera.js'

export interface PveraOptions extends TargetOptions, BiasOption {
  r: number
  projection_prng_key: number
  save_projection: boolean
  pvera_dropout: number
  d_initial: number
  generator_seed: number | null
  init_weights: boolean
}

/** VeRA whose code is drawn: y + λb ⊙ B·z, z normal with mean and log-variance λd ⊙ A·x (Neumann et al., 2025, arXiv 2512.07703);
 *  options as HF PEFT's PveraConfig. */
export default definePeftMethod<PveraOptions>({
  name: 'pvera',
  apiVersion: 1,
  peftType: 'PVERA',
  family: 'shared',
  summary: 'VeRA with a random code, of learned mean and variance',
  paper: 'https://arxiv.org/abs/2512.07703',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(256),
    projection_prng_key: whole(0),
    save_projection: flag(true),
    pvera_dropout: share(0),
    d_initial: real(0.1),
    // Answers would be drawn anew each time; used adapters take the mean.
    sample_at_inference: only(false, 'an adapter says the same of the same text twice'),
    generator_seed: whole(null),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('pvera_only'),
  }),
  attach(context, options) {
    const { model, g, param, buffer, dropout, noise } = context
    const { r, d_initial, init_weights } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const [widest, tallest] = [
      Math.max(...sites.map((s) => s.inFeatures)),
      Math.max(...sites.map((s) => s.outFeatures)),
    ]
    const [initA, initB] = projections(options.projection_prng_key, [2 * r, widest], [tallest, r])
    const stored = options.save_projection ? 'F32' : false
    const A = buffer('pvera_A', { shape: [2 * r, widest], init: initA, stored, key: 'base_model.pvera_A' })
    const B = buffer('pvera_B', { shape: [tallest, r], init: initB, stored, key: 'base_model.pvera_B' })
    const adapted = sites.map((site) => {
      const { path, inFeatures, outFeatures } = site
      const d = param(`${path}.pvera_lambda_d`, {
        shape: [2 * r],
        init: init_weights ? constant(d_initial) : normal(1),
      })
      const b = param(`${path}.pvera_lambda_b`, { shape: [outFeatures], init: init_weights ? zeros : ones })
      const [down, up] = [g.slice(A, 0, inFeatures, 1), g.slice(B, 0, outFeatures, 0)]
      site.output.map((y, x) => {
        const code = g.mul(g.linear(dropout(x, options.pvera_dropout, path), down), d)
        const [mean, logVariance] = g.split(code, [r, r], (code.shape?.length ?? 1) - 1)
        const drawn = g.mul(
          noise(mean, `${path}/${options.generator_seed}`),
          g.exp(g.scale(logVariance, 0.5)),
        )
        return g.add(y, g.mul(g.linear(g.add(mean, drawn), up), b))
      })
      const first = (v: typeof A) => g.slice(v, 0, r, 0)
      return {
        site,
        delta: () => g.matMul(g.mul(up, g.unsqueeze(b, [1])), g.mul(first(down), g.unsqueeze(first(d), [1]))),
      }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})
