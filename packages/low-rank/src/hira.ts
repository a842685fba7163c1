import {
  type AttachContext,
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  type MergedWeight,
  normal,
  oneOf,
  only,
  positive,
  share,
  type Site,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface HiraOptions extends TargetOptions {
  r: number
  hira_dropout: number
  init_weights: boolean | 'gaussian' | null
}

/** W + W ⊙ (B·A), of full rank where W is (Huang et al., ICLR 2025, openreview TwJrTz9cRS); options as HF PEFT's HiraConfig. */
export default definePeftMethod<HiraOptions>({
  name: 'hira',
  apiVersion: 1,
  peftType: 'HIRA',
  family: 'low rank',
  summary: 'scales each weight by a low-rank matrix, entry by entry',
  paper: 'https://openreview.net/forum?id=TwJrTz9cRS',
  learningRate: 5e-3,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => Boolean(init_weights),
  configSchema: targetedSchema({
    r: positive(32),
    hira_dropout: share(0),
    init_weights: oneOf([true, false, 'gaussian', null], true),
    rank_pattern: only({}, 'HF PEFT takes it and builds every layer with r all the same'),
    fan_in_fan_out: flag(false),
  }),
  attach(context, options) {
    const { model, g, dropout } = context
    const sites = targets(model, options, { among: [...model.linears, ...model.embeddings] })
    const merged = sites.map((site): MergedWeight => {
      const factor = relative(context, site, options)
      const form = (w: Value) => g.add(w, g.mul(w, factor))
      if (site.kind !== 'linear' || options.hira_dropout === 0) site.weight.map(form)
      else {
        const weight = g.mul(site.weight.value, factor)
        site.output.map((y, x) => g.add(y, g.linear(dropout(x, options.hira_dropout, site.path), weight)))
      }
      return [site.weight, form]
    })
    return { merge: () => merged.filter(([slot]) => slot.frozen) }
  },
})

/** What a layer's weight is multiplied by, less one: B·A, or (B·A)ᵀ for an embedding's table. */
function relative({ g, param }: AttachContext, site: Site, { r, init_weights }: HiraOptions): Value {
  if (site.kind === 'embedding') {
    const A = param(`${site.path}.hira_embedding_A`, {
      shape: [r, site.rows],
      init: init_weights ? zeros : normal(1),
    })
    const B = param(`${site.path}.hira_embedding_B`, { shape: [site.width, r], init: normal(1) })
    return g.matMul(A, B, { transA: true, transB: true })
  }
  const [m, n] = site.weight.shape
  const start: Initialiser = init_weights === true ? kaimingUniform : normal(init_weights ? 1 / r : 1)
  const A = param(`${site.path}.hira_A`, { shape: [r, n], init: start })
  const B = param(`${site.path}.hira_B`, { shape: [m, r], init: init_weights ? zeros : normal(1) })
  return g.matMul(B, A)
}
