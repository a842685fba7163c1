import {
  type AttachContext,
  copyOf,
  definePeftMethod,
  flag,
  GraftError,
  type LinearSite,
  lowRankSvd,
  numbersIn,
  oneOf,
  positive,
  principal,
  Random,
  share,
  type Svd,
  type TargetOptions,
  targetedSchema,
  targets,
  whole,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'
import { turning, type TurningOptions } from './turning.js'

export interface PsoftOptions extends TargetOptions, TurningOptions {
  psoft_alpha: number
  psoft_dropout: number
  ab_svd_init: 'psoft_init' | 'pissa_init'
  psoft_svd: 'full' | 'lowrank'
  psoft_svd_lowrank_niter: number
  random_seed: number
}

/** W + s·B·(R − I)·A: A and B span W's greatest singular directions, R rotates and scales among them (openreview FSHrinMArK,
 *  arXiv 2505.11235); options as HF PEFT's PsoftConfig. */
export default definePeftMethod<PsoftOptions>({
  name: 'psoft',
  apiVersion: 1,
  peftType: 'PSOFT',
  family: 'orthogonal',
  summary: "rotates each weight's greatest singular directions among themselves",
  paper: 'https://arxiv.org/abs/2505.11235',
  learningRate: 5e-3,
  mergeable: true,
  trainingOptions: ['psoft_dropout', 'init_weights'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(32),
    psoft_alpha: positive(32),
    psoft_dropout: share(0),
    ab_svd_init: oneOf(['psoft_init', 'pissa_init'], 'psoft_init'),
    psoft_svd: oneOf(['full', 'lowrank'], 'full'),
    psoft_svd_lowrank_niter: whole(10),
    random_seed: whole(0),
    psoft_orth: flag(true),
    psoft_mag_a: flag(true),
    psoft_mag_b: flag(true),
    use_cayley_neumann: flag(false),
    num_cayley_neumann_terms: positive(5),
    cayley_neumann_eps: {
      type: ['number', 'null'],
      exclusiveMinimum: 0,
      exclusiveMaximum: 1,
      default: null,
    },
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
  }),
  attach(context, options) {
    const { model, g, dropout } = context
    const { r, psoft_alpha, psoft_dropout } = options
    const scale = psoft_alpha / r
    const adapted = targets(model, options).map((site) => {
      const { A, B } = directions(context, site, options, scale)
      const change = g.sub(turning(context, site.path, options), g.identity(r))
      site.output.map((y, x) => {
        const inside = g.linear(dropout(x, psoft_dropout, site.path), A)
        return g.add(y, g.scale(g.linear(g.linear(inside, change), B), scale))
      })
      return { site, delta: () => g.scale(g.matMul(g.matMul(B, change), A), scale) }
    })
    return { merge: () => adapted.map(({ site, delta }) => [site.weight, (w) => g.add(w, delta())]) }
  },
})

/**
 * A [r, in] and B [out, r], s·B·A the best approximation of W. HF PEFT's file holds neither, and makes them again from W; but singular
 * vectors are free up to a sign, which R does not forgive: this file holds A, and B follows from it.
 */
function directions(
  { buffer, inference }: AttachContext,
  site: LinearSite,
  options: PsoftOptions,
  scale: number,
) {
  const { path, inFeatures: n, outFeatures: m, weight } = site
  const { r, ab_svd_init } = options
  if (r > Math.min(m, n))
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method psoft: r ${r} is more than the ${Math.min(m, n)} singular directions of ${path}.`,
    )
  const read = copyOf(weight)
  const W = () => Matrix.from1DArray(m, n, read([m, n], new Random(0)))
  const factors = () =>
    options.psoft_svd === 'full'
      ? principal(W(), r)
      : lowRankSvd(W(), r, options.psoft_svd_lowrank_niter, options.random_seed)
  const greatest = (): Float32Array => {
    if (inference) throw withoutDirections(path)
    const { s, V } = factors()
    const length = (i: number) => (ab_svd_init === 'pissa_init' ? Math.sqrt(s[i] / scale) : 1)
    return Float32Array.from({ length: r * n }, (_, k) => {
      const i = Math.floor(k / n)
      return length(i) * V.get(k % n, i)
    })
  }
  const A = buffer(`${path}.psoft_A`, { shape: [r, n], init: greatest, stored: 'F32' })
  const beside = (): Float32Array => {
    const rows = Matrix.from1DArray(r, n, numbersIn(A))
    const lengths = Array.from({ length: r }, (_, i) => rows.getRow(i).reduce((sum, v) => sum + v * v, 0))
    // A truncated decomposition's U·s is W·V only nearly; A says its signs.
    const up = options.psoft_svd === 'full' ? W().mmul(rows.transpose()) : alongside(factors(), rows)
    return Float32Array.from(up.divRowVector(lengths.map((v) => scale * v || 1)).to1DArray())
  }
  return { A, B: buffer(`${path}.psoft_B`, { shape: [m, r], init: beside, stored: false }) }
}

/** U·s·(V·rows), V and rows alike but for signs and lengths. */
const alongside = ({ U, s, V }: Svd, rows: Matrix): Matrix =>
  U.subMatrix(0, U.rows - 1, 0, rows.rows - 1).mulRowVector(
    Array.from({ length: rows.rows }, (_, i) => {
      const along = rows.getRow(i).reduce((sum, v, j) => sum + v * V.get(j, i), 0)
      return s[i] * along
    }),
  )

const withoutDirections = (path: string) =>
  new GraftError(
    'UNSUPPORTED_ADAPTER',
    `method psoft: the adapter's file has no ${path}.psoft_A. HF PEFT leaves the singular directions out, whose signs differ from machine to machine; docs/methods/psoft.md says how to add them to the file where it was trained.`,
  )
