import { biasOf, definePeftMethod, optionSchema, trainParameter } from '@graft-peft/core'

/** Trains every weight and bias of the model: the yardstick the other methods are measured by. */
export default definePeftMethod({
  name: 'full',
  apiVersion: 1,
  peftType: 'FULL',
  family: 'selective',
  summary: 'trains every weight: the yardstick',
  learningRate: 1e-3,
  mergeable: true,
  startsAsIdentity: () => true,
  configSchema: optionSchema({}),
  attach({ model, param }) {
    const trained = new Map<unknown, string>()
    for (const site of model.sites) {
      const { data } = site.weight.constant ?? {}
      // A tied table is one parameter, whoever reads it; equal norms that an exporter stored once are not.
      const tied = site.kind === 'embedding' || site.path === model.outputEmbedding?.path
      const name = (tied && trained.get(data)) || `${site.path}.weight`
      if (tied) trained.set(data, name)
      trainParameter(param, site.weight, name)
      const bias = biasOf(site)
      if (bias) trainParameter(param, bias, `${site.path}.bias`)
    }
    return { merge: () => [] }
  },
})
