import {
  type AttachContext,
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  GraftError,
  kaimingUniform,
  type LinearSite,
  positive,
  real,
  shapeOf,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  uniform,
  type Value,
  whole,
  zeros,
} from '@graft-peft/core'

export interface GraloraOptions extends TargetOptions, BiasOption {
  r: number
  hybrid_r: number
  alpha: number
  gralora_k: number
  gralora_dropout: number
  init_weights: boolean
}

/** ΔW of k × k blocks, each of rank r/k; a plain low-rank update besides (Jung et al., 2025, arXiv 2505.20355); options as HF PEFT's GraloraConfig. */
export default definePeftMethod<GraloraOptions>({
  name: 'gralora',
  apiVersion: 1,
  peftType: 'GRALORA',
  family: 'low rank',
  summary: 'low-rank updates of the blocks of each weight',
  paper: 'https://arxiv.org/abs/2505.20355',
  learningRate: 2e-3,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(32),
    hybrid_r: whole(0),
    alpha: real(64),
    gralora_k: positive(2),
    gralora_dropout: share(0),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('gralora_only'),
  }),
  attach(context, options) {
    const { model, g, dropout } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const scale = options.alpha / (options.r + options.hybrid_r)
    const adapted = sites.map((site) => {
      const update = updateOf(context, site, options)
      site.output.map((y, x) =>
        g.add(
          y,
          g.scale(g.reshape(update(dropout(x, options.gralora_dropout, site.path)), shapeOf(y)), scale),
        ),
      )
      return { site, delta: () => g.scale(g.swapLast(update(g.identity(site.inFeatures))), scale) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

/** x [..., in] to the update's outputs [rows, out], unscaled. */
function updateOf(
  { g, param }: AttachContext,
  { path, inFeatures, outFeatures }: LinearSite,
  { r, hybrid_r, gralora_k: k, init_weights }: GraloraOptions,
): (x: Value) => Value {
  if (r % k !== 0 || inFeatures % k !== 0 || outFeatures % k !== 0)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method gralora: gralora_k ${k} must divide r (${r}) and the features of ${path} (${inFeatures} in, ${outFeatures} out).`,
    )
  const [into, out] = [inFeatures / k, outFeatures / k]
  const start = (fan: number) => uniform(1 / Math.sqrt(fan))
  const A = param(`${path}.gralora_A`, { shape: [k, into, r], init: start(into) })
  const B = param(`${path}.gralora_B`, { shape: [k, r, out], init: init_weights ? zeros : start(r) })
  /** Each block of x meets its A, and what k blocks made of it is dealt out to the k blocks of y. */
  const blocks = (x: Value): Value => {
    const down = g.matMul(g.transpose(g.reshape(x, [-1, k, into]), [1, 0, 2]), A)
    const dealt = g.transpose(g.reshape(down, [k, -1, k, r / k]), [2, 1, 0, 3])
    const up = g.matMul(g.reshape(dealt, [k, -1, r]), B)
    return g.reshape(g.transpose(up, [1, 0, 2]), [-1, outFeatures])
  }
  if (hybrid_r === 0) return blocks
  const whole = [
    param(`${path}.gralora_A_general.weight`, { shape: [hybrid_r, inFeatures], init: kaimingUniform }),
    param(`${path}.gralora_B_general.weight`, {
      shape: [outFeatures, hybrid_r],
      init: init_weights ? zeros : kaimingUniform,
    }),
  ]
  return (x) => g.add(blocks(x), g.linear(g.linear(g.reshape(x, [-1, inFeatures]), whole[0]), whole[1]))
}
