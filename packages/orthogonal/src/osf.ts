import {
  copyOf,
  type Builder,
  definePeftMethod,
  GraftError,
  type Initialiser,
  type LinearSite,
  normal,
  oneOf,
  principal,
  Random,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  only,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'

export interface OsfOptions extends TargetOptions {
  effective_rank: number | null
  rank_pattern: Record<string, number> | null
  init_weights: boolean | null
}
const rank = { type: ['number', 'null'], exclusiveMinimum: 0, default: null } as const
const ranks = { type: 'object', additionalProperties: { type: 'number', exclusiveMinimum: 0 } } as const

/** Trains W's lesser singular directions in full, and keeps what is learned orthogonal to the greater ones
 *  (Nayak et al., 2025, arXiv 2504.07097); options as HF PEFT's OSFConfig. */
export default definePeftMethod<OsfOptions>({
  name: 'osf',
  apiVersion: 1,
  peftType: 'OSF',
  family: 'orthogonal',
  summary: 'trains the lesser singular directions, orthogonal to the greater',
  paper: 'https://arxiv.org/abs/2504.07097',
  learningRate: 1e-4,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights !== false,
  configSchema: targetedSchema({
    effective_rank: rank,
    rank_pattern: { anyOf: [ranks, { type: 'null' }], default: null },
    init_weights: oneOf([true, false, null], true),
    target_svd_config: only(null, 'HF PEFT reads it nowhere'),
  }),
  attach({ model, g, param, buffer }, options) {
    const target_modules = options.target_modules ?? defaults[`${model.config.model_type}`] ?? 'all-linear'
    const adapted = targets(model, { ...options, target_modules }).map((site) => {
      const { path, outFeatures: m, inFeatures: n } = site
      const kept = keptOf(site, options)
      const rest = Math.min(m, n) - kept
      const svd = decomposed(site)
      const low = (name: string, shape: number[], init: Initialiser) => {
        const frozen = buffer(`${path}.osf_${name}_init`, { shape, init, stored: false })
        const own = param(`${path}.osf_svd_params.${name}`, {
          shape,
          init: options.init_weights === false ? normal(1) : init,
        })
        return { own, frozen }
      }
      const U = low('U_low', [m, rest], () => columns(svd().U, kept, rest))
      const S = low('S_low', [rest], () => Float32Array.from(svd().s.slice(kept)))
      const V = low('V_low', [rest, n], () => columns(svd().V, kept, rest, true))
      // What is orthogonal to the greater directions: the lesser ones' span where they are all there is besides.
      const high = (side: 'U' | 'V', size: number) =>
        buffer(`${path}.osf_${side}_high`, {
          shape: [size, kept],
          init: () => columns(svd()[side], 0, kept),
          stored: false,
        })
      const left = projected(g, U.own, m <= n ? within(g, U.frozen) : beside(g, high('U', m)))
      const right = projected(
        g,
        g.swapLast(V.own),
        m >= n ? within(g, g.swapLast(V.frozen)) : beside(g, high('V', n)),
      )
      const up = g.concat([g.mul(left, S.own), g.neg(g.mul(U.frozen, S.frozen))], 1)
      const down = g.concat([g.swapLast(right), V.frozen], 0)
      site.output.map((y, x) => g.add(y, g.linear(g.linear(x, down), up)))
      return { site, delta: () => g.matMul(up, down) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

const attention = ['q_proj', 'k_proj', 'v_proj']
const gated = [...attention, 'o_proj', 'gate_proj', 'down_proj', 'up_proj']
const fused = ['query_key_value', 'dense_4h_to_h']
/** HF PEFT's; all linear layers for other architectures. */
const defaults: Record<string, readonly string[]> = {
  ...Object.fromEntries(
    ['llama', 'mistral', 'mixtral', 'gemma', 'gemma2', 'gemma3_text', 'qwen2', 'qwen3', 'phi'].map((t) => [
      t,
      gated,
    ]),
  ),
  ...Object.fromEntries(['bloom', 'gpt_neox', 'falcon'].map((t) => [t, fused])),
  gpt2: ['c_attn', 'c_proj'],
  gpt_bigcode: ['c_attn', 'c_proj'],
  opt: [...attention, 'out_proj', 'fc1', 'fc2'],
  gptj: [...attention, 'out_proj', 'fc_in', 'fc_out'],
}

/** How many singular directions stay as they are: half of them, a share of them up to one, or a number. */
function keptOf({ path, inFeatures, outFeatures }: LinearSite, options: OsfOptions): number {
  const all = Math.min(inFeatures, outFeatures)
  const own = Object.entries(options.rank_pattern ?? {}).find(([pattern]) => new RegExp(pattern).test(path))
  const wanted = own ? own[1] : options.effective_rank
  const kept = Math.trunc(wanted === null ? all / 2 : wanted < 1 ? all * wanted : wanted)
  if (kept > 0 && kept < all) return kept
  throw new GraftError(
    'BAD_METHOD_OPTION',
    `method osf: effective_rank keeps ${kept} of the ${all} singular directions of ${path}; keep at least one and leave one to train.`,
  )
}

/** v itself, with P·∂v for its gradient. */
const projected = (g: Builder, v: Value, P: (d: Value) => Value): Value => {
  const still = g.stopGradient(v)
  return g.add(still, P(g.sub(v, still)))
}
const within = (g: Builder, basis: Value) => (d: Value) =>
  g.matMul(basis, g.matMul(basis, d, { transA: true }))
const beside = (g: Builder, basis: Value) => (d: Value) => g.sub(d, within(g, basis)(d))

/** W's singular value decomposition, made once, when first asked for. */
function decomposed({ weight }: LinearSite): () => ReturnType<typeof principal> {
  const read = copyOf(weight)
  const [m, n] = weight.shape
  let made: ReturnType<typeof principal> | undefined
  return () => (made ??= principal(Matrix.from1DArray(m, n, read([m, n], new Random(0))), Math.min(m, n)))
}

/** Some of a matrix's columns, row by row; or column by column. */
function columns(a: Matrix, first: number, count: number, transposed = false): Float32Array {
  const part = a.subMatrix(0, a.rows - 1, first, first + count - 1)
  return Float32Array.from((transposed ? part.transpose() : part).to1DArray())
}
