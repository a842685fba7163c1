import {
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  targetedSchema,
  targets,
  zeros,
} from '@graft-peft/core'
import { type LycorisOptions, lycorisOptions, rankAndScale, trainingOptions, withDropout } from './shared.js'

/** ΔW = (α/r)·(w1a·w1b) ⊙ (w2a·w2b) (Hyeon-Woo et al., 2021, arXiv 2108.06098); options as HF PEFT's LoHaConfig. */
export default definePeftMethod<LycorisOptions & { init_weights: boolean }>({
  name: 'loha',
  apiVersion: 1,
  peftType: 'LOHA',
  family: 'low rank',
  summary: 'Hadamard product of two low-rank updates',
  paper: 'https://arxiv.org/abs/2108.06098',
  learningRate: 2e-3,
  mergeable: true,
  trainingOptions,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({ ...lycorisOptions, init_weights: flag(true) }),
  attach(context, options) {
    const { model, g, param } = context
    for (const site of targets(model, options)) {
      const { r, scale } = rankAndScale(site.path, options)
      const [m, n] = [site.outFeatures, site.inFeatures]
      const factor = (name: string, shape: number[], init: Initialiser) =>
        param(`${site.path}.hada_${name}`, { shape, init })
      const first = g.matMul(factor('w1_a', [m, r], kaimingUniform), factor('w1_b', [r, n], kaimingUniform))
      const second = g.matMul(
        factor('w2_a', [m, r], kaimingUniform),
        factor('w2_b', [r, n], options.init_weights ? zeros : kaimingUniform),
      )
      const delta = g.scale(g.mul(first, second), scale)
      site.weight.add(withDropout(context, site, delta, options, true))
    }
    return { merge: () => [] }
  },
})
