import {
  type AttachContext,
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  type LinearSite,
  normal,
  oneOf,
  positive,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  uniform,
  type Value,
  zeros,
} from '@graft-peft/core'

type Path = 'lora' | 'vector' | 'constant' | 'none'
export interface GloraOptions extends TargetOptions, BiasOption {
  r: number
  config_A_B: Path
  config_C: Path
  config_D_E: Path
  init_weights: boolean
}

/** W + W ⊙ A + B, and for layers with a bias b + b ⊙ D + E + W·C (Chavan et al., 2023, arXiv 2306.07967); options as HF PEFT's GloraConfig. */
export default definePeftMethod<GloraOptions>({
  name: 'glora',
  apiVersion: 1,
  peftType: 'GLORA',
  family: 'low rank',
  summary: 'scales and shifts weights and biases, each path low-rank, a vector or a number',
  paper: 'https://arxiv.org/abs/2306.07967',
  learningRate: 2e-3,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(8),
    config_A_B: oneOf(['lora', 'vector', 'constant', 'none'], 'lora'),
    config_C: oneOf(['lora', 'vector', 'none'], 'lora'),
    config_D_E: oneOf(['vector', 'constant', 'none'], 'constant'),
    init_weights: flag(true),
    bias: biasOption('glora_only'),
  }),
  attach(context, options) {
    const { model, g } = context
    const { config_A_B, config_C, config_D_E } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    for (const site of sites) {
      const { outFeatures: m, inFeatures: n, bias } = site
      const path = (name: string, kind: Path, shape: readonly number[]) =>
        pathOf(context, site, `glora_${name}`, kind, shape, options)
      const [A, B] = [path('A', config_A_B, [m, n]), path('B', config_A_B, [m, n])]
      const C = path('C', bias ? config_C : 'none', [n, 1])
      const [D, E] = [path('D', bias ? config_D_E : 'none', [m]), path('E', bias ? config_D_E : 'none', [m])]
      const base = site.weight.value
      if (config_A_B !== 'none') site.weight.map((w) => g.add(g.add(w, g.mul(w, A)), B))
      bias?.map((b) => g.add(g.add(g.add(b, g.mul(b, D)), E), g.reshape(g.matMul(base, C), [m])))
    }
    return { merge: () => [] }
  },
})

/** One of the paths, for what has this shape: a product, a column or a vector, a number; zeros, which HF PEFT's files hold too. */
function pathOf(
  { g, param, buffer }: AttachContext,
  { path }: LinearSite,
  name: string,
  kind: Path,
  shape: readonly number[],
  { r, init_weights }: GloraOptions,
): Value {
  const [rows, columns = 1] = shape
  const start = (random: Initialiser) => (init_weights ? zeros : random)
  if (kind === 'none') return buffer(`${path}.${name}.zeros`, { shape, init: zeros, stored: 'F32' })
  if (kind === 'constant') return param(`${path}.${name}.X`, { shape: [1], init: start(normal(0.02)) })
  if (kind === 'vector')
    return param(`${path}.${name}.X`, {
      shape: shape.length === 1 ? [rows] : [rows, 1],
      init: start(uniform(shape.length === 1 ? 1 / Math.sqrt(rows) : 1)),
    })
  const Xd = param(`${path}.${name}.Xd`, { shape: [rows, r], init: start(kaimingUniform) })
  const Xu = param(`${path}.${name}.Xu`, { shape: [r, columns], init: kaimingUniform })
  return g.matMul(Xd, Xu)
}
