import {
  activations as common,
  type Builder,
  definePeftMethod,
  flag,
  kaimingUniform,
  oneOf,
  positive,
  real,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  whole,
  zeros,
} from '@graft-peft/core'

export interface PeanutOptions extends TargetOptions {
  r: number
  depth: number
  act_fn: keyof typeof activations
  scaling: number
  init_weights: boolean
}

const activations = { ...common, linear: (_: Builder, x: Value) => x }

/** ΔW a small network's reading of W itself: f(Wᵀ·Aᵀ)·Bᵀ, with layers between (Zhong et al., 2024, arXiv 2410.01870); options as HF PEFT's PeanutConfig. */
export default definePeftMethod<PeanutOptions>({
  name: 'peanut',
  apiVersion: 1,
  peftType: 'PEANUT',
  family: 'low rank',
  summary: "a small network makes each weight's update from the weight",
  paper: 'https://arxiv.org/abs/2410.01870',
  learningRate: 2e-3,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(32),
    depth: whole(0),
    act_fn: oneOf(Object.keys(activations), 'relu'),
    scaling: real(1),
    init_weights: flag(true),
  }),
  attach({ model, g, param }, options) {
    const { r, depth, scaling, init_weights } = options
    const act = (x: Value) => activations[options.act_fn](g, x)
    for (const { path, weight, outFeatures } of targets(model, options)) {
      const layer = (name: string, shape: [number, number], init = kaimingUniform) =>
        param(`${path}.peanut_${name}.weight`, { shape, init })
      const square = (name: string) => Array.from({ length: depth }, (_, i) => layer(`${name}.${i}`, [r, r]))
      const A = layer('A', [r, outFeatures])
      const [encoders, decoders] = [square('encoders'), square('decoders')]
      const B = layer('B', [outFeatures, r], init_weights ? zeros : kaimingUniform)
      let h = act(g.matMul(weight.value, A, { transA: true, transB: true }))
      const kept = encoders.map((encoder) => {
        const before = h
        h = act(g.linear(h, encoder))
        return before
      })
      for (const decoder of decoders) h = g.add(act(g.linear(h, decoder)), kept.pop() as Value)
      weight.add(g.scale(g.matMul(B, h, { transB: true }), scaling))
    }
    return { merge: () => [] }
  },
})
