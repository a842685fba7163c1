import {
  type BiasOption,
  biasOption,
  definePeftMethod,
  GraftError,
  kaimingUniform,
  type LinearSite,
  type MergedWeight,
  oneOf,
  positive,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface MissOptions extends TargetOptions, BiasOption {
  r: number
  miss_dropout: number
  mini_r: number
  init_weights: boolean | 'bat' | 'mini'
}

/** One shard of r rows shared by all of a weight's input blocks (Kang et al., 2024, arXiv 2409.15371); options as HF PEFT's MissConfig. */
export default definePeftMethod<MissOptions>({
  name: 'miss',
  apiVersion: 1,
  peftType: 'MISS',
  family: 'low rank',
  summary: 'one learned shard, shared along the input',
  paper: 'https://arxiv.org/abs/2409.15371',
  learningRate: 1e-3,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => init_weights !== false,
  configSchema: targetedSchema({
    r: positive(64),
    miss_dropout: share(0),
    mini_r: positive(1),
    init_weights: oneOf([true, false, 'bat', 'mini'], true),
    bias: biasOption('MiSS_only'),
  }),
  attach(context, options) {
    const { model, g, param, dropout } = context
    const { r, init_weights: kind, mini_r } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    /** W + W·B + B, block by block: B [out/r, r, r] meets W's blocks [in/r, out/r, r, r]. */
    const bat =
      ({ inFeatures: n, outFeatures: m }: LinearSite, block: Value) =>
      (w: Value) => {
        const blocks = g.transpose(g.reshape(w, [m / r, r, n / r, r]), [2, 0, 1, 3])
        const change = g.add(g.matMul(blocks, block), block)
        return g.add(w, g.reshape(g.transpose(change, [1, 2, 0, 3]), [m, n]))
      }
    /** x's blocks of r summed, then the shard: x·ΔWᵀ with ΔW the shard's transpose, repeated along the input. */
    const change = (x: Value, { inFeatures: n, path }: LinearSite, block: Value) => {
      const rest = (r - (n % r)) % r
      const kept = dropout(x, options.miss_dropout, path)
      const shape = [...(x.shape ?? [])]
      const full =
        rest === 0 ? kept : g.concat([kept, g.zeros([...shape.slice(0, -1), rest])], shape.length - 1)
      const blocks = g.reshape(full, [...shape.slice(0, -1), (n + rest) / r, r])
      return g.matMul(g.reduceSum(blocks, [shape.length - 1], false), block)
    }
    const adapted = sites.flatMap((site): MergedWeight[] => {
      const shape = shardShape(site, options)
      const own = param(`${site.path}.miss_block`, { shape, init: kind === false ? kaimingUniform : zeros })
      const block = kind === 'mini' ? g.op('Tile', [own, g.ints([1, site.outFeatures / mini_r])]) : own
      if (kind === 'bat') {
        site.weight.map(bat(site, block))
        return []
      }
      site.output.map((y, x) => g.add(y, change(x, site, block)))
      const repeated = () =>
        g.slice(
          g.op('Tile', [g.swapLast(block), g.ints([1, Math.ceil(site.inFeatures / r)])]),
          0,
          site.inFeatures,
          1,
        )
      return [[site.weight, (w) => g.add(w, repeated())]]
    })
    return { merge: () => adapted }
  },
})

function shardShape(
  { path, inFeatures: n, outFeatures: m }: LinearSite,
  { r, init_weights, mini_r }: MissOptions,
): number[] {
  const bad = (why: string) =>
    new GraftError('BAD_METHOD_OPTION', `method miss: ${path} is [${m}, ${n}]: ${why}`)
  if (r > n) throw bad(`r: ${r} is more than its ${n} inputs.`)
  if (init_weights === 'bat' && (n % r !== 0 || m % r !== 0))
    throw bad(`init_weights: bat needs both sizes divisible by r: ${r}.`)
  if (init_weights === 'mini' && m % mini_r !== 0)
    throw bad(`mini_r: ${mini_r} doesn't divide its ${m} outputs.`)
  if (init_weights === 'bat') return [m / r, r, r]
  return [r, init_weights === 'mini' ? mini_r : m]
}
