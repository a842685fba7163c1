import {
  type AfterStep,
  type BiasOption,
  biasOption,
  type Builder,
  definePeftMethod,
  flag,
  GraftError,
  normal,
  positive,
  real,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
  whole,
  zeros,
  share,
} from '@graft-peft/core'
import { cayley, neumann, rotateBlocks, skewOf, someIdle } from './rotation.js'

export interface OftOptions extends TargetOptions, BiasOption {
  r: number
  oft_block_size: number
  coft: boolean
  eps: number
  block_share: boolean
  init_weights: boolean
  module_dropout: number
  use_cayley_neumann: boolean
  num_cayley_neumann_terms: number
}

/** W·(R·x), R block-diagonal and orthogonal (Qiu et al., 2023, arXiv 2306.07280; 2025, arXiv 2506.19847); options as HF PEFT's OFTConfig. */
export default definePeftMethod<OftOptions>({
  name: 'oft',
  apiVersion: 1,
  peftType: 'OFT',
  family: 'orthogonal',
  summary: "rotates layers' inputs, block by block",
  paper: 'https://arxiv.org/abs/2306.07280',
  learningRate: 2e-3,
  mergeable: true,
  trainingOptions: ['module_dropout', 'init_weights'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: whole(0),
    oft_block_size: whole(32),
    coft: flag(false),
    eps: real(6e-5),
    block_share: flag(false),
    use_cayley_neumann: flag(true),
    num_cayley_neumann_terms: { ...positive(5), minimum: 2 },
    module_dropout: share(0),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('oft_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = sites.map((site) => {
      const { blocks, b } = blocksOf(site.inFeatures, options)
      const init = options.init_weights ? zeros : normal(0.1)
      const angles = param(`${site.path}.oft_R.weight`, {
        shape: [options.block_share ? 1 : blocks, (b * (b - 1)) / 2],
        init,
      })
      const skew = skewOf(g, options.coft ? withinBall(g, angles, options.eps) : angles, b)
      const own = options.use_cayley_neumann
        ? neumann(g, skew, options.num_cayley_neumann_terms)
        : cayley(g, skew)
      const rotations = options.block_share
        ? g.expand(own, [blocks, b, b])
        : someIdle(context, own, Math.trunc(options.module_dropout * blocks), site.path)
      site.input.map((x) => rotateBlocks(g, x, rotations))
      return { site, angles, rotations }
    })
    return {
      merge: () =>
        adapted.map(({ site, rotations }) => [site.weight, (w) => rotateBlocks(g, w, g.swapLast(rotations))]),
      ...(options.coft
        ? {
            afterStep: constrained(
              g,
              adapted.map((a) => a.angles),
              options.eps,
            ),
          }
        : {}),
    }
  },
})

/** Block size and count: one is given, the other follows; rounded to what divides the layer's input, as HF PEFT does. */
function blocksOf(features: number, { r, oft_block_size }: OftOptions): { blocks: number; b: number } {
  if ((r === 0) === (oft_block_size === 0))
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method oft: give either r, the number of blocks, or oft_block_size, and 0 for the other; got r ${r}, oft_block_size ${oft_block_size}.`,
    )
  const given = nearestDivisor(features, r || oft_block_size)
  return r === 0 ? { blocks: features / given, b: given } : { blocks: given, b: features / given }
}
function nearestDivisor(features: number, wanted: number): number {
  if (wanted >= features) return features
  let [above, below] = [wanted, wanted]
  while (features % above !== 0) above++
  while (features % below !== 0) below--
  return wanted - below <= above - wanted ? below : above
}

/**
 * COFT (constrained OFT): every block's skew matrix lies in a ball of radius eps/√blocks. HF PEFT brings it back there in every forward
 * pass; the gradient is that of the angles there.
 */
function withinBall(g: Builder, angles: Value, eps: number): Value {
  return g.add(angles, g.stopGradient(g.sub(projected(g, angles, eps), angles)))
}
function projected(g: Builder, angles: Value, eps: number): Value {
  const radius = g.scalar(eps / Math.sqrt(angles.shape?.[0] as number))
  const norm = g.sqrt(g.scale(g.reduceSum(g.square(angles), [1]), 2))
  return g.where(g.lessOrEqual(norm, radius), angles, g.mul(angles, g.div(radius, norm)))
}

/** What is trained stays there: after each step it is brought back itself. */
const constrained = (g: Builder, angles: readonly Value[], eps: number): AfterStep => ({
  scalars: () => [],
  update: ({ updated }) => new Map(angles.map((p) => [p, projected(g, updated(p), eps)])),
})
