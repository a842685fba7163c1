import {
  definePeftMethod,
  flag,
  kaimingUniform,
  type LinearSite,
  moduleKey,
  positive,
  real,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface LilyOptions extends TargetOptions {
  r: number
  stride_A: number
  num_B: number
  scaling: number
  init_weights: boolean
}

/** y + s·B·A·x, A shared by neighbouring layers, B a mixture of a few that all layers share, by what A made of the batch
 *  (Zhong et al., 2024, arXiv 2407.09946); options as HF PEFT's LilyConfig. */
export default definePeftMethod<LilyOptions>({
  name: 'lily',
  apiVersion: 1,
  peftType: 'LILY',
  family: 'shared',
  summary: 'low-rank updates of shared parts, mixed by a router',
  paper: 'https://arxiv.org/abs/2407.09946',
  learningRate: 2e-3,
  mergeable: false,
  // The mixture is by all of a text; with a cache it would be by the last token alone.
  wholeTexts: true,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(32),
    stride_A: positive(1),
    num_B: { type: 'integer', minimum: 2, default: 2 },
    scaling: real(1),
    init_weights: flag(true),
  }),
  attach({ model, g, param }, options) {
    const { r, num_B, scaling, stride_A } = options
    const copies: Record<string, Value> = {}
    for (const group of alike(targets(model, options), options))
      group.forEach((site, i) => {
        const { path, inFeatures, outFeatures } = site
        /** Declared by the first of those that share it; HF PEFT's file holds a copy for each. */
        const shared = (name: string, owner: LinearSite, shape: [number, number], init = kaimingUniform) => {
          const value = param(`${owner.path}.lily_${name}.weight`, { shape, init })
          if (owner !== site) copies[moduleKey(`${path}.lily_${name}.weight`)] = value
          return value
        }
        const A = shared('A', group[i - (i % stride_A)], [r, inFeatures])
        const init = options.init_weights ? zeros : kaimingUniform
        const B = g.reshape(shared('B', group[0], [num_B * r, outFeatures], init), [num_B, r * outFeatures])
        const router = shared('router', site, [num_B, r])
        site.output.map((y, x) => {
          const hidden = g.linear(x, A)
          const odds = g.reshape(g.softmax(g.linear(hidden, router)), [-1, num_B])
          const mixed = g.reshape(g.matMul(g.reduceMean(odds, [0]), B), [r, outFeatures])
          return g.add(y, g.scale(g.matMul(hidden, mixed), scaling))
        })
      })
    return { save: () => ({ tensors: copies }) }
  },
})

/** Layers that share: of the same name among target_modules and the same shape, in the model's order. */
function alike(sites: readonly LinearSite[], { target_modules }: LilyOptions): LinearSite[][] {
  const groups = new Map<string, LinearSite[]>()
  for (const site of sites) {
    const { path, inFeatures, outFeatures } = site
    const listed = Array.isArray(target_modules)
      ? target_modules.findLast((t) => path.endsWith(t))
      : undefined
    const name = listed ?? (target_modules && target_modules !== 'all-linear' ? '' : path.split('.').at(-1))
    const key = `${name}/${outFeatures}/${inFeatures}`
    groups.set(key, [...(groups.get(key) ?? []), site])
  }
  return [...groups.values()]
}
