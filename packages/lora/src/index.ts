import {
  type AttachContext,
  byPattern,
  definePeftMethod,
  GraftError,
  type LinearSite,
  type MergedWeight,
  moduleKey,
  type Site,
  targets,
  trainBiases,
  type Value,
  zeros,
} from '@graft-peft/core'
import { attachDora } from './dora.js'
import { eva, type Explained } from './eva.js'
import { adaptConvolution, adaptEmbedding, mergedBias } from './layers.js'
import { lowRank } from './low-rank.js'
import { type LoraOptions, otherStarts, schema, startOptions } from './options.js'
import { type Rank, rankAndScale } from './rank.js'
import { type Start, start } from './start.js'
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
  ownOptions: ['loraplus_lr_ratio'],
  aliases: {
    qlora: 'method: { name: lora } and, beside it, quantize: int4',
    dora: 'method: { name: lora, use_dora: true }',
    rslora: 'method: { name: lora, use_rslora: true }',
    pissa: 'method: { name: lora, init_lora_weights: pissa }',
    olora: 'method: { name: lora, init_lora_weights: olora }',
    eva: 'method: { name: lora, init_lora_weights: eva }',
    loraplus: 'method: { name: lora, loraplus_lr_ratio: 16 }',
  },
  configSchema: schema,
  trainingOptions: [
    'lora_dropout',
    'loraplus_lr_ratio',
    ...startOptions,
    'velora_config',
    'ensure_weight_tying',
  ],
  startsAsIdentity: ({ init_lora_weights }) => init_lora_weights !== false,
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
    return {
      merge: () => [...linears.flatMap((l) => l.merged()), ...others, ...rows.merged],
      ...((start || rows.named) && !context.inference
        ? { save: () => ({ tensors: tensors(), finish: () => ({ ...start?.(), ...named }) }) }
        : {}),
    }
  },
  lowRank,
})
export default [lora, xlora]

interface Adapted {
  /** whether the starting product was taken off the base weight */
  frozen: boolean
  merged(): MergedWeight[]
  saved(): [string, Value][]
}
function adaptLinear(
  context: AttachContext,
  site: LinearSite,
  { r: given, scale }: Rank,
  options: LoraOptions,
  explained?: Explained,
): Adapted {
  const { g, param, buffer, dropout } = context
  const { path, inFeatures, outFeatures } = site
  const r = explained?.rank ?? given
  const begun = explained
    ? { A: () => explained.A, B: zeros, subtracted: false }
    : start(options.init_lora_weights, site.weight, r, scale)
  const { A: initA, B: initB, subtracted, frozen = false }: Start = begun
  const A = param(`${path}.lora_A.weight`, { shape: [r, inFeatures], init: initA })
  const [name, shape] = [`${path}.lora_B.weight`, [outFeatures, r]]
  // A file holds B either way; what is in use isn't trained, and then all of it is fed alike.
  const B =
    frozen && !context.inference
      ? buffer(name, { shape, init: initB, stored: 'F32' })
      : param(name, { shape, init: initB, lrScale: options.loraplus_lr_ratio })
  const bias = options.lora_bias
    ? param(`${path}.lora_B.bias`, { shape: [outFeatures], init: zeros })
    : undefined
  // W − s·B₀·A₀ + s·B·A as one update of twice the rank: the base weight is never touched.
  const start0 = (name: string, shape: number[], init: typeof initA) =>
    buffer(`${path}.start_${name}`, { shape, init, stored: false })
  const [down, up] = subtracted
    ? [
        g.concat([A, start0('A', [r, inFeatures], initA)], 0),
        g.concat([B, g.neg(start0('B', [outFeatures, r], initB))], 1),
      ]
    : [A, B]
  const apply = (x: Value) => {
    const product = g.linear(g.linear(dropout(x, options.lora_dropout, path), down), up)
    return g.scale(bias ? g.add(product, bias) : product, scale)
  }
  const saved = (): [string, Value][] => [
    [moduleKey(`${path}.lora_A.weight`), down],
    [moduleKey(`${path}.lora_B.weight`), up],
  ]
  if (options.use_dora) {
    const form = attachDora(context, { site, A, B, scale, apply }, options.lora_dropout)
    return { frozen: false, merged: () => [[site.weight, form]], saved }
  }
  site.output.map((y, x) => g.add(y, apply(x)))
  const weight: MergedWeight = [site.weight, (w) => g.add(w, g.scale(g.matMul(up, down), scale))]
  return {
    frozen: subtracted,
    merged: () => [weight, ...(bias ? [mergedBias(site, g.scale(bias, scale), g)] : [])],
    saved,
  }
}

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
  if (init === 'mica' && lora_bias) throw bad('init_lora_weights: mica trains A alone; leave lora_bias out.')
  if (init === 'orthogonal' && r % 2 !== 0)
    throw bad(`init_lora_weights: orthogonal needs an even r, got ${r}.`)
  return options
}
