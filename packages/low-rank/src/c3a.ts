import {
  type BiasOption,
  biasOption,
  byPattern,
  defaultTargets,
  definePeftMethod,
  GraftError,
  type Initialiser,
  normal,
  oneOf,
  pattern,
  positive,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  uniform,
  zeros,
} from '@graft-peft/core'

export interface C3aOptions extends TargetOptions, BiasOption {
  block_size: number
  block_size_pattern: Record<string, number>
  init_weights: boolean | 'gaussian' | 'kaiming_uniform' | 'xavier_uniform'
}

/** ΔW of circulant blocks, each one learned row (Chen et al., 2024, arXiv 2407.19342); options as HF PEFT's C3AConfig. */
export default definePeftMethod<C3aOptions>({
  name: 'c3a',
  apiVersion: 1,
  peftType: 'C3A',
  family: 'low rank',
  summary: 'update of circulant blocks: full rank from few numbers',
  paper: 'https://arxiv.org/abs/2407.19342',
  learningRate: 0.1,
  mergeable: true,
  ownOptions: ['exclude_modules'],
  startsAsIdentity: ({ init_weights }) => init_weights === true,
  configSchema: targetedSchema({
    block_size: positive(256),
    block_size_pattern: pattern,
    init_weights: oneOf([true, false, 'gaussian', 'kaiming_uniform', 'xavier_uniform'], 'xavier_uniform'),
    bias: biasOption('c3a_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options, { among: model.linears, defaults })
    trainBiases(context, sites, options.bias)
    for (const { path, weight, inFeatures, outFeatures } of sites) {
      const b = byPattern(path, options.block_size_pattern, options.block_size)
      if (inFeatures % b !== 0 || outFeatures % b !== 0)
        throw new GraftError(
          'BAD_METHOD_OPTION',
          `method c3a: block_size ${b} must divide the features of ${path}: ${inFeatures} in, ${outFeatures} out.`,
        )
      const [rows, columns] = [outFeatures / b, inFeatures / b]
      const kernel = param(`${path}.c3a_kernel`, {
        shape: [rows, columns, b],
        init: start(options.init_weights, inFeatures, outFeatures),
      })
      // Row t of a block is its kernel moved t places: entry (t, j) is kernel[(j − t) mod b].
      const places = Array.from({ length: b * b }, (_, i) => ((i % b) - Math.floor(i / b) + b) % b)
      const blocks = g.reshape(g.gather(kernel, g.ints(places), 2), [rows, columns, b, b])
      const delta = g.reshape(g.transpose(blocks, [0, 2, 1, 3]), [outFeatures, inFeatures])
      weight.add(g.scale(delta, 1 / inFeatures))
    }
    return { merge: () => [] }
  },
})

/** As HF PEFT's, which names another layer where all of attention is one. */
const defaults = { ...defaultTargets, gpt2: ['mlp.c_proj'], gpt_bigcode: ['mlp.c_proj'] }

function start(init: C3aOptions['init_weights'], into: number, out: number): Initialiser {
  if (init === true) return zeros
  if (init === 'gaussian') return normal(1)
  return uniform(init === 'kaiming_uniform' ? 1 / Math.sqrt(into) : Math.sqrt(6 / (into + out)))
}
