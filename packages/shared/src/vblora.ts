import {
  type BiasOption,
  biasOption,
  definePeftMethod,
  flag,
  GraftError,
  type LinearSite,
  normal,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  uniform,
  type Value,
  only,
} from '@graft-peft/core'

export interface VbloraOptions extends TargetOptions, BiasOption {
  r: number
  num_vectors: number
  vector_length: number
  topk: number
  vblora_dropout: number
  init_vector_bank_bound: number
  init_logits_std: number
}

/** ΔW = B·A whose pieces are mixtures of the k best vectors of one bank (Li et al., 2024, arXiv 2405.15179); options as HF PEFT's VBLoRAConfig. */
export default definePeftMethod<VbloraOptions>({
  name: 'vblora',
  apiVersion: 1,
  peftType: 'VBLORA',
  family: 'shared',
  summary: 'low-rank updates pieced together from one bank of vectors',
  paper: 'https://arxiv.org/abs/2405.15179',
  learningRate: 1e-2,
  mergeable: true,
  startsAsIdentity: () => false,
  configSchema: targetedSchema({
    r: positive(4),
    num_vectors: positive(256),
    vector_length: positive(256),
    topk: positive(2),
    // A file of chosen vectors alone can't be trained on; the whole choice is written.
    save_only_topk_weights: only(false, 'training could not go on from such a file'),
    vblora_dropout: share(0),
    init_vector_bank_bound: real(0.02),
    init_logits_std: real(0.1),
    fan_in_fan_out: flag(false),
    bias: biasOption('vblora_only'),
  }),
  attach(context, options) {
    const { model, g, param, dropout } = context
    const { r, num_vectors, vector_length: length } = options
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const bank = param('vblora_vector_bank', {
      shape: [num_vectors, length],
      init: uniform(options.init_vector_bank_bound),
      key: 'base_model.vblora_vector_bank',
    })
    const mixtures = (name: string, shape: [number, number]): Value => {
      const logits = param(name, { shape: [...shape, num_vectors], init: normal(options.init_logits_std) })
      const [best, places] = g.ops('TopK', [logits, g.ints([options.topk])], { axis: -1 }, 2)
      const weights = g.unsqueeze(g.softmax(best), [2])
      return g.squeeze(g.matMul(weights, g.gather(bank, places)), [2])
    }
    const adapted = sites.map((site) => {
      fits(site, options)
      const { path, inFeatures, outFeatures } = site
      const A = g.reshape(mixtures(`${path}.vblora_logits_A`, [r, inFeatures / length]), [r, inFeatures])
      const columns = mixtures(`${path}.vblora_logits_B`, [outFeatures / length, r])
      const B = g.reshape(g.swapLast(columns), [outFeatures, r])
      site.output.map((y, x) => g.add(y, g.linear(g.linear(dropout(x, options.vblora_dropout, path), A), B)))
      return { site, delta: () => g.matMul(B, A) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

function fits(site: LinearSite, { topk, num_vectors, vector_length }: VbloraOptions): void {
  const { path, inFeatures, outFeatures } = site
  const bad = (why: string) => new GraftError('BAD_METHOD_OPTION', `method vblora: ${why}`)
  if (topk > num_vectors) throw bad(`topk ${topk} is more than the bank has vectors: ${num_vectors}.`)
  if (inFeatures % vector_length !== 0 || outFeatures % vector_length !== 0)
    throw bad(
      `vector_length ${vector_length} must divide the features of ${path}: ${inFeatures} in, ${outFeatures} out.`,
    )
}
