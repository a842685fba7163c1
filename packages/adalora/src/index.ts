import {
  definePeftMethod,
  GraftError,
  type LinearSite,
  normal,
  targets,
  trainBiases,
  zeros,
} from '@graft-peft/core'
import { allocator } from './allocator.js'
import { targetModules } from './defaults.js'
import { type AdaLoraOptions, schema } from './options.js'
import { type Triplet } from './allocator.js'

/** LoRA in the form of a singular value decomposition, its rank budget allotted while it trains (Zhang et al., 2023, arXiv 2303.10512);
 *  options as HF PEFT's AdaLoraConfig. */
export default definePeftMethod<AdaLoraOptions>({
  name: 'adalora',
  apiVersion: 1,
  peftType: 'ADALORA',
  family: 'low rank',
  summary: 'low-rank update, rank allotted where it matters',
  paper: 'https://arxiv.org/abs/2303.10512',
  learningRate: 2e-3,
  mergeable: true,
  startsAsIdentity: ({ init_lora_weights }) => init_lora_weights,
  configSchema: schema,
  trainingOptions: [
    'lora_dropout',
    'init_lora_weights',
    'alpha_pattern',
    'loftq_config',
    'eva_config',
    'corda_config',
    'lora_ga_config',
  ],
  attach(context, options) {
    const { model, g, param, dropout, totalSteps, inference } = context
    if (!inference) refuseInert(options)
    const sites = targets(model, options, { among: model.linears, defaults: targetModules })
    trainBiases(context, sites, options.bias)
    const triplets = sites.map((site): Triplet => {
      const rank = keptRank(site, options, inference) ?? options.init_r
      const own = (name: string, shape: number[], init = normal(0.02)) =>
        param(`${site.path}.lora_${name}`, { shape, init })
      const E = own('E', [rank, 1], options.init_lora_weights ? zeros : normal(0.02))
      return { site, E, A: own('A', [rank, site.inFeatures]), B: own('B', [site.outFeatures, rank]) }
    })
    const inUse = triplets.filter(({ E }) => E.shape?.[0] !== 0)
    // HF PEFT divides by the first rank for ever, also after pruning.
    const scale = options.lora_alpha / (options.init_r + 1e-5)
    for (const { site, A, B, E } of inUse)
      site.output.map((y, x) =>
        g.add(
          y,
          g.scale(g.linear(g.linear(dropout(x, options.lora_dropout, site.path), g.mul(A, E)), B), scale),
        ),
      )
    return {
      merge: () =>
        inUse.map(({ site, A, B, E }) => [
          site.weight,
          (w) => g.add(w, g.scale(g.matMul(B, g.mul(A, E)), scale)),
        ]),
      ranks: (read) =>
        Object.fromEntries(triplets.map(({ site, E }) => [site.path, read(E).filter((v) => v !== 0).length])),
      ...(inference
        ? {}
        : allocator(context, triplets, { ...options, total_step: options.total_step ?? totalSteps })),
    }
  },
})

/** HF PEFT reads neither while it trains: what would do nothing is refused. */
function refuseInert({ alpha_pattern, rank_pattern }: AdaLoraOptions): void {
  for (const [key, value] of Object.entries({ alpha_pattern, rank_pattern }))
    if (Object.keys(value ?? {}).length > 0)
      throw new GraftError(
        'BAD_METHOD_OPTION',
        `method adalora: ${key} does nothing in training, here as in HF PEFT: one scale holds for all layers, and ranks are allotted. Leave it out; init_r, target_r and lora_alpha say what there is to say.`,
      )
}

/** How many rows a file kept of a layer, where it says so. */
function keptRank(
  { path }: LinearSite,
  { rank_pattern }: AdaLoraOptions,
  inference: boolean,
): number | undefined {
  return inference ? rank_pattern?.[`${path}.lora_E`]?.filter(Boolean).length : undefined
}
