import {
  copyOf,
  definePeftMethod,
  flag,
  GraftError,
  type Initialiser,
  kaimingUniform,
  type LinearSite,
  normal,
  positive,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  zeros,
} from '@graft-peft/core'

export interface SupertuningOptions extends TargetOptions {
  sparsity: number
  select_top: boolean
  r: number | null
  lora_alpha: number | null
  lora_dropout: number
  init_weights: boolean
  save_precomputed_indices: boolean
}

/** W + S, S at W's greatest entries; with r a low-rank update besides (2026, arXiv 2607.09287); options as HF PEFT's SupertuningConfig. */
export default definePeftMethod<SupertuningOptions>({
  name: 'supertuning',
  apiVersion: 1,
  peftType: 'SUPERTUNING',
  family: 'sparse',
  summary: "trains each weight's greatest entries",
  paper: 'https://arxiv.org/abs/2607.09287',
  learningRate: 1e-3,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    sparsity: share(0.99),
    select_top: flag(true),
    r: { ...positive(1), type: ['integer', 'null'], default: null },
    lora_alpha: { type: ['number', 'null'], default: null },
    lora_dropout: share(0),
    init_weights: flag(true),
    save_precomputed_indices: flag(true),
  }),
  attach({ model, g, param, buffer, dropout }, options) {
    const { r, lora_alpha, init_weights } = options
    if (r === null && lora_alpha !== null)
      throw new GraftError('BAD_METHOD_OPTION', 'method supertuning: lora_alpha needs r, the rank it scales.')
    const adapted = targets(model, options).map((site) => {
      const { path, outFeatures: m, inFeatures: n } = site
      const count = countOf(site, options.sparsity)
      const values = param(`${path}.supertuning_values`, {
        shape: [count],
        init: init_weights ? zeros : normal(1),
      })
      const places = buffer(`${path}.supertuning_indices`, {
        shape: [count],
        init: extremes(site, options),
        stored: options.save_precomputed_indices && 'I32',
      })
      const at = g.unsqueeze(g.cast(places, 'int64'), [1])
      site.weight.add(g.reshape(g.op('ScatterND', [g.zeros([m * n]), at, values]), [m, n]))
      if (r === null) return []
      const A = param(`${path}.supertuning_lora_A.weight`, { shape: [r, n], init: kaimingUniform })
      const B = param(`${path}.supertuning_lora_B.weight`, {
        shape: [m, r],
        init: init_weights ? zeros : kaimingUniform,
      })
      const scale = (lora_alpha ?? 2 * r) / r
      site.output.map((y, x) =>
        g.add(y, g.scale(g.linear(g.linear(dropout(x, options.lora_dropout, path), A), B), scale)),
      )
      return [{ site, delta: () => g.scale(g.matMul(B, A), scale) }]
    })
    return { merge: () => adapted.flat().map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

function countOf({ path, inFeatures, outFeatures }: LinearSite, sparsity: number): number {
  const count = Math.trunc(inFeatures * outFeatures * (1 - sparsity))
  if (count > 0) return count
  throw new GraftError(
    'BAD_METHOD_OPTION',
    `method supertuning: sparsity ${sparsity} leaves nothing to train of ${path}, which has ${inFeatures * outFeatures} entries.`,
  )
}

/** Places in reading order of W's greatest entries by size, the greatest first; or of its smallest. */
function extremes({ weight }: LinearSite, { select_top }: SupertuningOptions): Initialiser {
  const read = copyOf(weight)
  return ([count], random) => {
    const sizes = read(weight.shape, random).map(Math.abs)
    const order = Uint32Array.from(sizes, (_, i) => i).sort((a, b) =>
      select_top ? sizes[b] - sizes[a] : sizes[a] - sizes[b],
    )
    return Float32Array.from(order.subarray(0, count))
  }
}
