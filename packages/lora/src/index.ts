import {
  byPattern,
  definePeftMethod,
  GraftError,
  type MergedWeight,
  type Site,
  targets,
  trainBiases,
} from '@graft-peft/core'
import { eva, type Explained } from './eva.js'
import { adaptConvolution, adaptEmbedding } from './layers.js'
import { type Adapted, adaptLinear } from './linear.js'
import { lowRank } from './low-rank.js'
import { type LoraOptions, otherStarts, schema, startOptions } from './options.js'
import { rankAndScale } from './rank.js'
import { attachTokens } from './tokens.js'
import xlora from './xlora.js'

export { lora, xlora }

/** y + s·B·A·x on frozen layers (Hu et al., 2021, arXiv 2106.09685); names and defaults as HF PEFT's LoraConfig. */
const lora = definePeftMethod<LoraOptions>({
  name: 'lora',
  apiVersion: 1,
  peftType: 'LORA',
  family: 'low rank',
  summary: 'low-rank update of chosen layers; DoRA, rsLoRA, PiSSA, OLoRA, LoRA+',
  paper: 'https://arxiv.org/abs/2106.09685',
  learningRate: 2e-3,
  // alpha 2r is a scale of 2, which rsLoRA's own scale already exceeds
  start: ({ r, use_rslora }) => ({
    target_modules: 'all-linear',
    ...(use_rslora ? {} : { lora_alpha: 2 * r }),
  }),
  mergeable: true,
  ownOptions: ['loraplus_lr_ratio', 'lora_fa'],
  aliases: {
    qlora: 'method: { name: lora } and, beside it, quantize: int4',
    dora: 'method: { name: lora, use_dora: true }',
    rslora: 'method: { name: lora, use_rslora: true }',
    pissa: 'method: { name: lora, init_lora_weights: pissa }',
    olora: 'method: { name: lora, init_lora_weights: olora }',
    eva: 'method: { name: lora, init_lora_weights: eva }',
    kasa: 'method: { name: lora, kasa_config: {} }',
    'lora-fa': 'method: { name: lora, lora_fa: true }',
    loraplus: 'method: { name: lora, loraplus_lr_ratio: 16 }',
  },
  configSchema: schema,
  trainingOptions: [
    'lora_dropout',
    'loraplus_lr_ratio',
    'lora_fa',
    ...startOptions,
    'velora_config',
    'ensure_weight_tying',
  ],
  startsAsIdentity: ({ init_lora_weights, kasa_config }) => init_lora_weights !== false && !kasa_config,
  async prepare(context, options) {
    if (options.init_lora_weights !== 'eva') return undefined
    return eva(context, targets(context.model, options), options)
  },
  attach(context, given) {
    const options = context.inference ? given : checked(given)
    const { model } = context
    const found = context.prepared as Map<string, Explained> | undefined
    const sites = targets(model, options, {
      among: [...model.linears, ...model.embeddings, ...model.convolutions],
    })
    refuseOthers(sites, options)
    trainBiases(context, sites, options.bias)
    const linears: Adapted[] = []
    const others: MergedWeight[] = []
    for (const site of sites) {
      if (found?.get(site.path)?.rank === 0) continue
      const rank = rankAndScale(site.path, options)
      if (site.kind === 'linear')
        linears.push(adaptLinear(context, site, rank, options, found?.get(site.path)))
      else if (site.kind === 'embedding') others.push(...adaptEmbedding(context, site, rank, options))
      else others.push(...adaptConvolution(context, site, rank, options))
    }
    const rows = attachTokens(context, options.trainable_token_indices)
    const start = found
      ? () => redistributed(found, options)
      : linears.some((l) => l.frozen)
        ? () =>
            doubled(
              options,
              sites.filter((s) => s.kind !== 'linear'),
            )
        : undefined
    const tensors = () => (start ? Object.fromEntries(linears.flatMap((l) => l.saved())) : undefined)
    const named = rows.named ? { trainable_token_indices: rows.named } : {}
    const penalties = linears.flatMap((l) => l.penalty ?? [])
    return {
      ...(penalties.length > 0 ? { penalty: penalties.reduce((a, b) => context.g.add(a, b)) } : {}),
      merge: () => [...linears.flatMap((l) => l.merged()), ...others, ...rows.merged],
      ...((start || rows.named) && !context.inference
        ? { save: () => ({ tensors: tensors(), finish: () => ({ ...start?.(), ...named }) }) }
        : {}),
    }
  },
  lowRank,
})
export default [lora, xlora]

/** The options under which a file whose linear layers have twice the rank means the same on the untouched base (HF PEFT's
 *  save_mutated_as_lora); other modules keep the rank they have. */
function doubled(
  { r, lora_alpha, rank_pattern, alpha_pattern, use_rslora }: LoraOptions,
  others: readonly Site[],
): Partial<LoraOptions> {
  const kept = (patterns: Record<string, number>, otherwise: number) =>
    Object.fromEntries(others.map(({ path }) => [path, byPattern(path, patterns, otherwise)]))
  const times = (pattern: Record<string, number>, factor: number) =>
    Object.fromEntries(Object.entries(pattern).map(([key, v]) => [key, v * factor]))
  const factor = use_rslora ? Math.SQRT2 : 2
  return {
    r: 2 * r,
    lora_alpha: factor * lora_alpha,
    rank_pattern: { ...kept(rank_pattern, r), ...times(rank_pattern, 2) },
    alpha_pattern: { ...kept(alpha_pattern, lora_alpha), ...times(alpha_pattern, factor) },
    init_lora_weights: true,
  }
}

/** EVA's ranks, under the same scale everywhere; layers that got none are no targets. */
function redistributed(
  found: ReadonlyMap<string, Explained>,
  { lora_alpha, r, use_rslora }: LoraOptions,
): Partial<LoraOptions> {
  const kept = [...found].filter(([, { rank }]) => rank > 0)
  const alpha = (rank: number) => lora_alpha * (use_rslora ? Math.sqrt(rank / r) : rank / r)
  return {
    target_modules: kept.map(([path]) => path),
    rank_pattern: Object.fromEntries(kept.map(([path, { rank }]) => [path, rank])),
    alpha_pattern: Object.fromEntries(kept.map(([path, { rank }]) => [path, alpha(rank)])),
    init_lora_weights: true,
  }
}

function checked(options: LoraOptions): LoraOptions {
  const { use_dora, lora_bias, init_lora_weights: init, r } = options
  const bad = (why: string) => new GraftError('BAD_METHOD_OPTION', `method lora: ${why}`)
  if (otherStarts.includes(String(init)))
    throw bad(
      `init_lora_weights: ${init} isn't built here. Choose true, gaussian, orthogonal, pissa, olora, mica or eva.`,
    )
  if (use_dora && lora_bias) throw bad('use_dora and lora_bias exclude each other, as in HF PEFT.')
  if (use_dora && typeof init === 'string' && init !== 'gaussian')
    throw bad(
      `use_dora starts from the base weight; init_lora_weights: ${init} takes a part off it. Choose true or gaussian.`,
    )
  if (
    init === 'eva' &&
    (Object.keys(options.rank_pattern).length > 0 || Object.keys(options.alpha_pattern).length > 0)
  )
    throw bad('init_lora_weights: eva sets the ranks itself; leave rank_pattern and alpha_pattern out.')
  const variants = variantsOf(options)
  if (variants.length > 1) throw bad(`${variants.join(' and ')} exclude each other.`)
  if (variants.length > 0 && typeof init === 'string' && init !== 'gaussian')
    throw bad(`${variants[0]} has a start of its own; init_lora_weights: ${init} is another. Leave one out.`)
  if (init === 'mica' && lora_bias) throw bad('init_lora_weights: mica trains A alone; leave lora_bias out.')
  if (init === 'orthogonal' && r % 2 !== 0)
    throw bad(`init_lora_weights: orthogonal needs an even r, got ${r}.`)
  return options
}

/** Variants that change the two factors, of which an adapter has one at most. */
function variantsOf({ use_dora, use_bdlora, kasa_config, lora_fa }: LoraOptions): string[] {
  const all = { use_dora, use_bdlora, kasa_config, lora_fa }
  return Object.keys(all).filter((name) => all[name as keyof typeof all])
}
/** As in HF PEFT, those but DoRA are for linear layers. */
function refuseOthers(sites: readonly Site[], options: LoraOptions): void {
  const [variant] = variantsOf(options).filter((name) => name !== 'use_dora')
  const other = sites.find(({ kind }) => kind !== 'linear')
  if (variant && other)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method lora: ${variant} is for linear layers, and target_modules chooses ${other.path}. Leave it out.`,
    )
}
