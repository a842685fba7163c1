import {
  type BiasOption,
  biasOption,
  type Builder,
  copyOf,
  definePeftMethod,
  flag,
  type Initialiser,
  normal,
  oneOf,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
  type WeightSlot,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'
import { orthonormal, orthonormalOf } from './householder.js'

export interface DeftOptions extends TargetOptions, BiasOption {
  r: number
  decomposition_method: 'relu' | 'qr'
  init_scale: number
  alpha: number | null
  para: boolean
  deft_dropout: number
  init_weights: boolean
}

/** W − Q·Pᵀ·W + s·Q·R: what W does in a learned subspace is taken out and learned anew (Kumar et al., NeurIPS 2025); options as HF PEFT's DeftConfig. */
export default definePeftMethod<DeftOptions>({
  name: 'deft',
  apiVersion: 1,
  peftType: 'DEFT',
  family: 'low rank',
  summary: 'projects weights out of a learned subspace and fills it anew',
  learningRate: 1e-3,
  mergeable: true,
  startsAsIdentity: ({ init_weights, para }) => init_weights && !para,
  configSchema: targetedSchema({
    r: positive(8),
    decomposition_method: oneOf(['relu', 'qr'], 'relu'),
    init_scale: real(1),
    alpha: { type: ['integer', 'null'], minimum: 1, default: null },
    para: flag(false),
    deft_dropout: share(0),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('deft_only'),
  }),
  attach(context, options) {
    const { model, g, param, dropout } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = sites.map((site) => {
      const { path, inFeatures, outFeatures, bias } = site
      const r = Math.min(options.r, outFeatures)
      const scale = options.alpha ? options.alpha / r : 1
      const begun = start(site.weight, r, scale, options)
      const P = param(`${path}.deft_P`, { shape: [outFeatures, r], init: begun.P })
      const R = options.para ? undefined : param(`${path}.deft_R`, { shape: [r, inFeatures], init: begun.R })
      const { Q, right } = projector(g, P, options)
      site.output.map((y, x) => {
        const product = bias ? g.sub(y, bias.value) : y
        const removed = g.matMul(product, right)
        const filled = R && g.scale(g.linear(dropout(x, options.deft_dropout, path), R), scale)
        return g.add(y, g.linear(filled ? g.sub(filled, removed) : g.neg(removed), Q))
      })
      const form = (w: Value) => {
        const removed = g.matMul(right, w, { transA: true })
        return g.add(w, g.matMul(Q, R ? g.sub(g.scale(R, scale), removed) : g.neg(removed)))
      }
      return [site.weight, form] as const
    })
    return { merge: () => adapted }
  },
})

/** Q, into whose columns is written, and what reads W. */
function projector(g: Builder, P: Value, { decomposition_method }: DeftOptions): { Q: Value; right: Value } {
  if (decomposition_method === 'relu') return { Q: P, right: g.relu(P) }
  const Q = orthonormal(g, P)
  return { Q, right: Q }
}

/** P at random, and the R that puts back exactly what P takes out. P is drawn first, as it is declared first. */
function start(
  slot: WeightSlot,
  r: number,
  scale: number,
  options: DeftOptions,
): { P: Initialiser; R: Initialiser } {
  const read = copyOf(slot)
  const [m, n] = slot.shape
  let drawn = new Float32Array()
  return {
    P: (shape, random) => (drawn = Float32Array.from(normal(0.02)(shape, random))),
    R: (shape, random) => {
      if (!options.init_weights) return normal(0.02 * options.init_scale)(shape, random)
      const P = Matrix.from1DArray(m, r, drawn)
      const right =
        options.decomposition_method === 'relu' ? Matrix.max(P, Matrix.zeros(m, r)) : orthonormalOf(P)
      const W = Matrix.from1DArray(m, n, read([m, n], random))
      return Float32Array.from(right.transpose().mmul(W).div(scale).to1DArray())
    },
  }
}
