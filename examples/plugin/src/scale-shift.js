import { definePeftMethod, ones, targetedSchema, targets, zeros } from '@graft-peft/core'

/** SSF: y ⊙ γ + β on chosen linear layers (Lian et al., 2022, arXiv 2210.08823). */
export default definePeftMethod({
  name: 'scale-shift',
  apiVersion: 1,
  peftType: 'SCALE_SHIFT',
  summary: 'scales and shifts what layers give',
  paper: 'https://arxiv.org/abs/2210.08823',
  learningRate: 1e-2,
  mergeable: false,
  startsAsIdentity: () => true,
  configSchema: targetedSchema({}),
  attach({ model, g, param }, options) {
    for (const site of targets(model, options)) {
      const scale = param(`${site.path}.ssf_scale`, { shape: [site.outFeatures], init: ones })
      const shift = param(`${site.path}.ssf_shift`, { shape: [site.outFeatures], init: zeros })
      site.output.map((y) => g.add(g.mul(y, scale), shift))
    }
    return {}
  },
})
