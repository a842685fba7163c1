import {
  definePeftMethod,
  flag,
  type LinearSite,
  type MergedWeight,
  named,
  normal,
  ones,
  type TargetOptions,
  targetedSchema,
  targets,
} from '@graft-peft/core'
import { targetModules } from './defaults.js'

interface Ia3Options extends TargetOptions {
  feedforward_modules: readonly string[] | string | null
  fan_in_fan_out: boolean
  init_ia3_weights: boolean
}

/** (W·x + b) ⊙ l, or W·(x ⊙ l) in feed-forward modules (Liu et al., 2022, arXiv 2205.05638); options as HF PEFT's IA3Config. */
export default definePeftMethod<Ia3Options>({
  name: 'ia3',
  apiVersion: 1,
  peftType: 'IA3',
  family: 'selective',
  summary: 'rescales keys, values and feed-forward activations by learned vectors',
  paper: 'https://arxiv.org/abs/2205.05638',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_ia3_weights }) => init_ia3_weights,
  configSchema: targetedSchema({
    feedforward_modules: {
      anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }],
      default: null,
    },
    fan_in_fan_out: flag(false),
    init_ia3_weights: flag(true),
  }),
  attach({ model, g, param }, options) {
    const sites = targets(model, options, { among: model.linears, defaults: targetModules })
    const init = options.init_ia3_weights ? ones : normal(1)
    const adapted = sites.map((site) => {
      const inside = isFeedForward(site, options, sites.length > 0 ? String(model.config.model_type) : '')
      const shape = inside ? [1, site.inFeatures] : [site.outFeatures, 1]
      const l = param(`${site.path}.ia3_l`, { shape, init })
      const flat = g.reshape(l, [shape[0] * shape[1]])
      if (inside) site.input.map((x) => g.mul(x, flat))
      else site.output.map((y) => g.mul(y, flat))
      return { site, l, flat, inside }
    })
    return {
      merge: () =>
        adapted.flatMap(({ site, l, flat, inside }): MergedWeight[] => {
          const bias: MergedWeight[] = site.bias && !inside ? [[site.bias, (b) => g.mul(b, flat)]] : []
          return [[site.weight, (w) => g.mul(w, l)], ...bias]
        }),
    }
  },
})

/** Modules named as feed-forward; by default, the last of the architecture's default targets. */
function isFeedForward(
  { path }: LinearSite,
  { feedforward_modules, target_modules }: Ia3Options,
  modelType: string,
): boolean {
  if (feedforward_modules) return named(feedforward_modules, path)
  const last = targetModules[modelType]?.at(-1)
  return feedforward_modules === null && !target_modules && last !== undefined && named([last], path)
}
