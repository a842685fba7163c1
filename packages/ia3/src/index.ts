import {
  definePeftMethod,
  flag,
  type LinearSite,
  type MergedWeight,
  type Model,
  named,
  normal,
  ones,
  type TargetOptions,
  targetedSchema,
  targets,
} from '@graft-peft/core'
import { feedForwardModules, targetModules } from './defaults.js'

interface Ia3Options extends TargetOptions {
  feedforward_modules: readonly string[] | string | null
  fan_in_fan_out: boolean
  init_ia3_weights: boolean
}

interface Rescaled {
  site: LinearSite
  /** whether it lies in a feed-forward block, so that what goes in is rescaled */
  inside: boolean
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
    /** null: those of HF PEFT's table for the model_type, whichever target_modules are given */
    feedforward_modules: {
      anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }],
      default: null,
    },
    fan_in_fan_out: flag(false),
    init_ia3_weights: flag(true),
  }),
  attach({ model, g, param }, options) {
    const sites = targets(model, options, { among: model.linears, defaults: targetModules })
    const feedForward =
      options.feedforward_modules ?? feedForwardModules[String(model.config.model_type)] ?? []
    const init = options.init_ia3_weights ? ones : normal(1)
    const adapted = sites.map((site) => {
      const inside = named(feedForward, site.path)
      const shape = inside ? [1, site.inFeatures] : [site.outFeatures, 1]
      const l = param(`${site.path}.ia3_l`, { shape, init })
      const flat = g.reshape(l, [shape[0] * shape[1]])
      if (inside) site.input.map((x) => g.mul(x, flat))
      else site.output.map((y) => g.mul(y, flat))
      return { site, l, flat, inside }
    })
    return {
      save: () => ({ finish: () => chosen(model, adapted) }),
      merge: () =>
        adapted.flatMap(({ site, l, flat, inside }): MergedWeight[] => {
          const bias: MergedWeight[] = site.bias && !inside ? [[site.bias, (b) => g.mul(b, flat)]] : []
          return [[site.weight, (w) => g.mul(w, l)], ...bias]
        }),
    }
  },
})

/** What was rescaled and where, in names that choose just that: HF PEFT wants each of feedforward_modules word for word in target_modules. */
function chosen(model: Model, adapted: readonly Rescaled[]): Record<string, readonly string[]> {
  const { names } = model.targeted ?? {}
  const insides = (name: string) =>
    new Set(
      model.linears
        .filter(({ path }) => named([name], path))
        .map(({ path }) => adapted.find(({ site }) => site.path === path)?.inside),
    )
  const exact = Array.isArray(names) && names.every((n) => insides(n).size < 2 && !insides(n).has(undefined))
  const target_modules: readonly string[] = exact ? names : adapted.map(({ site }) => site.path)
  return { target_modules, feedforward_modules: target_modules.filter((n) => insides(n).has(true)) }
}
