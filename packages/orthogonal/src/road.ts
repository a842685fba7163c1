import {
  type AttachContext,
  definePeftMethod,
  flag,
  GraftError,
  type Initialiser,
  type LinearSite,
  type MergedWeight,
  oneOf,
  normal,
  ones,
  shapeOf,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface RoadOptions extends TargetOptions {
  variant: 'road_1' | 'road_2' | 'road_4'
  group_size: number
  init_weights: boolean
}

/** Pairs of a layer's outputs turned by θ and scaled by α (Liao and Monz, 2024, arXiv 2409.00119); options as HF PEFT's RoadConfig. */
export default definePeftMethod<RoadOptions>({
  name: 'road',
  apiVersion: 1,
  peftType: 'ROAD',
  family: 'orthogonal',
  summary: "rotates and scales pairs of layers' outputs",
  paper: 'https://arxiv.org/abs/2409.00119',
  learningRate: 5e-3,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    variant: oneOf(['road_1', 'road_2', 'road_4'], 'road_1'),
    group_size: { type: 'integer', minimum: 2, multipleOf: 2, default: 64 },
    init_weights: flag(true),
  }),
  attach(context, options) {
    const { model, g } = context
    const adapted = targets(model, options).map((site) => {
      const turn = turnOf(context, site, options)
      site.output.map(turn)
      return { site, turn }
    })
    return {
      merge: () =>
        adapted.flatMap(({ site, turn }): MergedWeight[] => [
          [site.weight, (w) => g.swapLast(turn(g.swapLast(w)))],
          ...(site.bias ? [[site.bias, turn] as const] : []),
        ]),
    }
  },
})

/** y ↦ c ⊙ y + s ⊙ y', where y' swaps the halves of each group: (y₁, y₂) ↦ (−y₂, y₁). */
function turnOf(
  { g, param }: AttachContext,
  { path, outFeatures }: LinearSite,
  { variant, group_size: size, init_weights }: RoadOptions,
): (y: Value) => Value {
  if (outFeatures % size !== 0)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method road: ${path} gives ${outFeatures} features, which group_size ${size} doesn't divide.`,
    )
  const groups = outFeatures / size
  const half = size / 2
  /** how many numbers a group has: one per pair, one per feature, or cosines' and sines' apart */
  const own = { road_1: [1, half], road_2: [2, half], road_4: [4, half] }[variant]
  const declare = (name: string, init: Initialiser) =>
    g.reshape(param(`${path}.road_${name}`, { shape: [groups * own[0] * own[1]], init }), [groups, ...own])
  const around =
    (mean: number): Initialiser =>
    (shape, random) =>
      normal(0.5)(shape, random).map((v) => v + mean)
  const theta = declare('theta', init_weights ? zeros : around(0))
  const alpha = declare('alpha', init_weights ? ones : around(1))
  const halves = (v: Value, start: number) => (variant === 'road_4' ? g.slice(v, start, start + 2, 1) : v)
  const cosines = g.mul(halves(alpha, 0), g.op('Cos', [halves(theta, 0)]))
  const sines = g.mul(halves(alpha, 2), g.op('Sin', [halves(theta, 2)]))
  const signed = g.mul(sines, g.constant('float32', [-1, 1], [2, 1]))
  return (y) => {
    const paired = g.reshape(y, [-1, groups, 2, half])
    const swapped = g.gather(paired, g.ints([1, 0]), 2)
    return g.reshape(g.add(g.mul(paired, cosines), g.mul(swapped, signed)), shapeOf(y))
  }
}
