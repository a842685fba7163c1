import {
  definePeftMethod,
  flag,
  GraftError,
  type Initialiser,
  normal,
  oneOf,
  positive,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  zeros,
} from '@graft-peft/core'

export interface ShiraOptions extends TargetOptions {
  r: number
  mask_type: 'random'
  random_seed: number | null
  init_weights: boolean
}

/** W + S, S sparse at fixed random places, as many as LoRA of rank r trains (Bhardwaj et al., 2024, arXiv 2406.13175); options as HF PEFT's ShiraConfig. */
export default definePeftMethod<ShiraOptions>({
  name: 'shira',
  apiVersion: 1,
  peftType: 'SHIRA',
  family: 'sparse',
  summary: 'trains a sparse choice of each weight',
  paper: 'https://arxiv.org/abs/2406.13175',
  learningRate: 1e-3,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(32),
    mask_type: oneOf(['random'], 'random'),
    random_seed: { type: ['integer', 'null'], default: null },
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
  }),
  attach({ model, g, param, buffer }, options) {
    for (const site of targets(model, options)) {
      const [m, n] = [site.outFeatures, site.inFeatures]
      const count = options.r * (m + n)
      if (count > m * n)
        throw new GraftError(
          'BAD_METHOD_OPTION',
          `method shira: r: ${options.r} trains ${count} numbers of ${site.path}, which has ${m * n}. Lower r.`,
        )
      const weight = param(`${site.path}.shira_weight`, {
        shape: [count],
        init: options.init_weights ? zeros : normal(1),
      })
      const places = buffer(`${site.path}.shira_indices`, {
        shape: [2, count],
        init: randomPlaces(m, n, count, options.random_seed),
        stored: 'I32',
      })
      site.weight.add(g.op('ScatterND', [g.zeros([m, n]), g.swapLast(places), weight]))
    }
    return { merge: () => [] }
  },
})

/** Rows, then columns, of random places in a matrix, in reading order; with a seed, HF PEFT's own choice. */
const randomPlaces =
  (m: number, n: number, count: number, seed: number | null): Initialiser =>
  (_, random) => {
    const chosen = new TorchRandom(seed ?? random.below(2 ** 31 - 1)).permutation(m * n, count).sort()
    return Float32Array.from([...chosen.map((i) => Math.floor(i / n)), ...chosen.map((i) => i % n)])
  }
