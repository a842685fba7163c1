import { type AttachContext, biasOf, definePeftMethod, fullMatch, type Initialiser, kaimingUniform, type LinearSite, normal, targets, trainParameter, zeros } from '@graft/core'
import { type LoraOptions, schema } from './options.js'

/** y + s·B·A·x on frozen linear layers (Hu et al., 2021, arXiv 2106.09685); names and defaults as HF PEFT's LoraConfig. */
export default definePeftMethod<LoraOptions>({
  name: 'lora',
  apiVersion: 1,
  peftType: 'LORA',
  configSchema: schema,
  summary: 'low-rank update of linear layers',
  mergeable: true,
  paper: 'https://arxiv.org/abs/2106.09685',
  startsAsIdentity: ({ init_lora_weights }) => init_lora_weights !== false,
  attach(context, options) {
    const { model, g, param, dropout } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options)
    const adapted = sites.map((site) => {
      const { r, scale } = rankAndScale(site.path, options)
      const [initA, initB] = initialisers(options.init_lora_weights, r)
      const A = param(`${site.path}.lora_A.weight`, { shape: [r, site.inFeatures], init: initA })
      const B = param(`${site.path}.lora_B.weight`, { shape: [site.outFeatures, r], init: initB })
      site.output.map((y, x) => g.add(y, g.scale(g.linear(g.linear(dropout(x, options.lora_dropout, site.path), A), B), scale)))
      return { site, A, B, scale }
    })
    return { merge: () => adapted.map(({ site, A, B, scale }) => [site.weight, (w) => g.add(w, g.scale(g.matMul(B, A), scale))]) }
  },
})

/** Per-module overrides match the end of a path; the first that matches wins (HF PEFT's get_pattern_key). */
function override(path: string, patterns: Record<string, number>, otherwise: number): number {
  const key = Object.keys(patterns).find((p) => fullMatch(`(?:.*\\.)?(?:${p.replace(/^\^/, '')})`, path))
  return key === undefined ? otherwise : patterns[key]
}
function rankAndScale(path: string, { r, lora_alpha, rank_pattern, alpha_pattern, use_rslora }: LoraOptions): { r: number; scale: number } {
  const rank = override(path, rank_pattern, r)
  const alpha = override(path, alpha_pattern, lora_alpha)
  return { r: rank, scale: alpha / (use_rslora ? Math.sqrt(rank) : rank) }
}
function initialisers(choice: LoraOptions['init_lora_weights'], r: number): [Initialiser, Initialiser] {
  if (choice === 'gaussian') return [normal(1 / r), zeros]
  return choice ? [kaimingUniform, zeros] : [kaimingUniform, kaimingUniform]
}

/** bias: lora_only trains the adapted layers' biases, all trains every bias. HF PEFT moves an adapted layer's own under base_layer. */
function trainBiases({ model, param }: AttachContext, sites: readonly LinearSite[], { bias }: LoraOptions): void {
  if (bias === 'none') return
  const adapted = new Set(sites.map((s) => s.path))
  for (const site of bias === 'all' ? model.sites : sites) {
    const slot = biasOf(site)
    if (slot) trainParameter(param, slot, `${site.path}${adapted.has(site.path) ? '.base_layer' : ''}.bias`)
  }
}
