import {
  type AttachContext,
  type Builder,
  copyOf,
  GraftError,
  type LinearSite,
  principal,
  Random,
  type Value,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'
import type { LoraOptions } from './options.js'

/**
 * Knowledge-aware singular-value adaptation (Wang et al., 2024, arXiv 2412.06071): the r directions that a weight uses least are taken out of
 * it for good, and the update has singular values of its own between B and A.
 */
export interface Kasa {
  /** what is taken off the layer's output for its input: −U·S·V·x of the least directions */
  lost(x: Value): Value
  /** the weight without those directions */
  truncated(w: Value): Value
  /** ΔΣ [r] */
  values: Value
}

/** Throws BAD_METHOD_OPTION where r leaves nothing of the weight. */
export function kasa({ g, param, buffer }: AttachContext, { path, weight }: LinearSite, r: number): Kasa {
  const [m, n] = weight.shape
  const most = Math.min(m, n)
  if (r >= most)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method lora: kasa_config takes r = ${r} directions out of ${path}, which has ${most}. Choose a smaller r.`,
    )
  const copy = copyOf(weight)
  let found: { left: Float32Array; right: Float32Array } | undefined
  const least = () => (found ??= minor(Matrix.from1DArray(m, n, copy([m, n], new Random(0))), r))
  const left = buffer(`${path}.kasa_left`, { shape: [m, r], init: () => least().left, stored: false })
  const right = buffer(`${path}.kasa_right`, { shape: [r, n], init: () => least().right, stored: false })
  return {
    lost: (x) => g.linear(g.linear(x, right), left),
    truncated: (w) => g.sub(w, g.matMul(left, right)),
    values: param(`${path}.lora_diag`, {
      shape: [r],
      init: (_, random) => Float32Array.from({ length: r }, () => random.normal()),
    }),
  }
}

/** U·S [m, r] and V [r, n] of the r least singular values: their product is free of the vectors' signs. */
function minor(w: Matrix, r: number) {
  const most = Math.min(w.rows, w.columns)
  const { U, s, V } = principal(w, most)
  const from = most - r
  const flat = (rows: number, columns: number, at: (i: number, j: number) => number) =>
    Float32Array.from({ length: rows * columns }, (_, k) => at(Math.floor(k / columns), k % columns))
  return {
    left: flat(w.rows, r, (i, j) => U.get(i, from + j) * s[from + j]),
    right: flat(r, w.columns, (i, j) => V.get(j, from + i)),
  }
}

/** β·‖ΔΣ‖² + γ·(‖BᵀB − I‖ + ‖AAᵀ − I‖), equations 9 to 11. */
export function kasaPenalty(
  g: Builder,
  { A, B, values }: { A: Value; B: Value; values: Value },
  { beta, gamma }: NonNullable<LoraOptions['kasa_config']>,
): Value {
  const offUnit = (gram: Value) =>
    g.sqrt(g.sumAll(g.square(g.sub(gram, g.identity((gram.shape as number[])[0])))))
  const both = g.add(offUnit(g.matMul(B, B, { transA: true })), offUnit(g.matMul(A, A, { transB: true })))
  return g.add(g.scale(g.sumAll(g.square(values)), beta), g.scale(both, gamma))
}
