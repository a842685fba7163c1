import {
  type AttachContext,
  biasOption,
  type BiasOption,
  byPattern,
  defaultTargets,
  definePeftMethod,
  flag,
  normal,
  pattern,
  positive,
  real,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  type Value,
  zeros,
} from '@graft-peft/core'

/** HF PEFT's defaults, by model_type: as LoRA's but for two. */
const targetModules = { ...defaultTargets, gpt2: ['mlp.c_proj'], gpt_bigcode: ['mlp.c_proj'] }

export interface FourierFtOptions extends TargetOptions, BiasOption {
  n_frequency: number
  scaling: number
  random_loc_seed: number
  n_frequency_pattern: Record<string, number>
  init_weights: boolean
}

/** ΔW = scaling·Re(ifft2 of a sparse spectrum) (Gao et al., 2024, arXiv 2405.03003); options as HF PEFT's FourierFTConfig. */
export default definePeftMethod<FourierFtOptions>({
  name: 'fourierft',
  apiVersion: 1,
  peftType: 'FOURIERFT',
  family: 'sparse',
  summary: 'trains a few frequencies of each weight',
  paper: 'https://arxiv.org/abs/2405.03003',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['ids_to_transform'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    n_frequency: positive(1000),
    scaling: real(150),
    random_loc_seed: { type: 'integer', default: 777 },
    n_frequency_pattern: { ...pattern, additionalProperties: { type: 'integer', minimum: 1 } },
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    ids_to_transform: { const: null, default: null },
    bias: biasOption('fourier_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options, { among: model.linears, defaults: targetModules })
    trainBiases(context, sites, options.bias)
    for (const site of sites) {
      const [m, n] = [site.outFeatures, site.inFeatures]
      const count = Math.min(m * n, byPattern(site.path, options.n_frequency_pattern, options.n_frequency))
      const spectrum = param(`${site.path}.fourierft_spectrum`, {
        shape: [count],
        init: options.init_weights ? zeros : normal(1),
      })
      const places = [...new TorchRandom(options.random_loc_seed).permutation(m * n, count)]
      const indices = g.constant(
        'int64',
        places.flatMap((i) => [Math.floor(i / n), i % n]),
        [count, 2],
      )
      site.weight.add(
        g.scale(
          inverseTransform(context, g.op('ScatterND', [g.zeros([m, n]), indices, spectrum]), m, n),
          options.scaling,
        ),
      )
    }
    return { merge: () => [] }
  },
})

/** The real part of the inverse transform of a real spectrum S [m, n]: Cₘ·S·Cₙ − Sₘ·S·Sₙ, cosines and sines shared by all layers of a size. */
function inverseTransform({ g, buffer }: AttachContext, spectrum: Value, m: number, n: number): Value {
  const table = (name: 'cos' | 'sin', size: number) =>
    buffer(`fourier_${name}_${size}`, {
      shape: [size, size],
      stored: false,
      init: () =>
        Float32Array.from(
          { length: size * size },
          (_, i) => Math[name]((2 * Math.PI * ((Math.floor(i / size) * (i % size)) % size)) / size) / size,
        ),
    })
  const part = (name: 'cos' | 'sin') => g.matMul(table(name, m), g.matMul(spectrum, table(name, n)))
  return g.sub(part('cos'), part('sin'))
}
