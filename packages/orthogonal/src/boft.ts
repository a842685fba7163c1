import {
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  GraftError,
  normal,
  ones,
  positive,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
  whole,
  zeros,
  share,
  type AttachContext,
} from '@graft-peft/core'
import { cayley, rotateBlocks, someIdle } from './rotation.js'

export interface BoftOptions extends TargetOptions, BiasOption {
  boft_block_size: number
  boft_block_num: number
  boft_n_butterfly_factor: number
  boft_dropout: number
  init_weights: boolean
}

/** s ⊙ W·(R·x), R a product of permuted block rotations (Liu et al., 2023, arXiv 2311.06243); options as HF PEFT's BOFTConfig. */
export default definePeftMethod<BoftOptions>({
  name: 'boft',
  apiVersion: 1,
  peftType: 'BOFT',
  family: 'orthogonal',
  summary: 'butterfly products of block rotations, and a scale',
  paper: 'https://arxiv.org/abs/2311.06243',
  learningRate: 2e-3,
  mergeable: true,
  trainingOptions: ['boft_dropout', 'init_weights'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    boft_block_size: whole(4),
    boft_block_num: whole(0),
    boft_n_butterfly_factor: positive(1),
    boft_dropout: share(0),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('boft_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = sites.map((site) => {
      const { blocks, b, factors } = layout(site.inFeatures, options, site.path)
      const R = param(`${site.path}.boft_R`, {
        shape: [factors, blocks, b, b],
        init: options.init_weights ? zeros : normal(0.1),
      })
      const s = param(`${site.path}.boft_s`, { shape: [site.outFeatures, 1], init: ones })
      const rotate = butterfly(context, R, Math.trunc(options.boft_dropout * blocks), site.path)
      const flat = g.reshape(s, [site.outFeatures])
      site.input.map(rotate)
      site.output.map((y) =>
        site.bias ? g.add(g.mul(g.sub(y, site.bias.value), flat), site.bias.value) : g.mul(y, flat),
      )
      return { site, s, rotate }
    })
    return {
      merge: () =>
        adapted.map(({ site, s, rotate }) => [
          site.weight,
          (w) => g.mul(g.matMul(w, rotate(g.identity(site.inFeatures)), { transB: true }), s),
        ]),
    }
  },
})

/** Block count and size: one is given, the other follows. Throws BAD_METHOD_OPTION where they don't fit the layer. */
function layout(
  features: number,
  { boft_block_size, boft_block_num, boft_n_butterfly_factor: factors }: BoftOptions,
  path: string,
) {
  if ((boft_block_num === 0) === (boft_block_size === 0))
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method boft: give either boft_block_size or boft_block_num, and 0 for the other; got ${boft_block_size} and ${boft_block_num}.`,
    )
  const given = boft_block_size || boft_block_num
  const [blocks, b] = boft_block_size ? [features / given, given] : [given, features / given]
  const fits = features % given === 0 && (factors === 1 || (b % 2 === 0 && blocks % 2 ** (factors - 1) === 0))
  if (!fits)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method boft: ${path} reads ${features} features, which ${factors} butterfly factor(s) of ${blocks} blocks of ${b} don't divide. Choose another boft_block_size or boft_n_butterfly_factor.`,
    )
  return { blocks, b, factors }
}

/** x ↦ x·Bₙ₋₁·…·B₀, each B a block rotation of permuted features. */
function butterfly(context: AttachContext, R: Value, idle: number, path: string): (x: Value) => Value {
  const { g } = context
  const [factors, blocks, b] = R.shape as number[]
  const rotations = Array.from({ length: factors }, (_, i) => {
    const data = g.reshape(g.slice(R, i, i + 1, 0), [blocks, b, b])
    const own = cayley(g, g.scale(g.sub(data, g.swapLast(data)), 0.5))
    return someIdle(context, own, idle, `${path}.${i}`, oneOfThem(context, factors, i, path))
  })
  const orders = rotations.map((_, i) =>
    factors === 1 ? undefined : permutation(blocks * b, blocks / 2 ** i, b / 2),
  )
  return (x) =>
    rotations.reduceRight((y, rotation, i) => {
      const order = orders[i]
      if (!order) return rotateBlocks(g, y, rotation)
      const axis = (x.shape?.length ?? 1) - 1
      const inverse = order.map((_, j) => order.indexOf(j))
      return g.gather(rotateBlocks(g, g.gather(y, g.ints(inverse), axis), rotation), g.ints(order), axis)
    }, x)
}

/** 1 where this of the factors is the one whose blocks are dropped in this step. */
function oneOfThem({ g, noise }: AttachContext, factors: number, i: number, path: string): Value {
  if (factors === 1) return g.scalar(1)
  const drawn = noise(g.zeros([factors, 1]), `${path}.factor`)
  const most = g.op('ReduceMax', [drawn], { keepdims: 0 })
  return g.cast(g.op('Equal', [g.squeeze(g.slice(drawn, i, i + 1, 0), [0, 1]), most]), 'float32')
}

/** The block butterfly permutation: within each of `groups` groups, runs of `run` features go evens first, then odds. */
function permutation(features: number, groups: number, run: number): number[] {
  const size = features / groups
  const runs = Array.from({ length: size / run }, (_, i) => i)
  const sorted = [...runs.filter((i) => i % 2 === 0), ...runs.filter((i) => i % 2 === 1)]
  const within = sorted.flatMap((i) => Array.from({ length: run }, (_, k) => i * run + k))
  return Array.from({ length: groups }, (_, group) => within.map((i) => group * size + i)).flat()
}
