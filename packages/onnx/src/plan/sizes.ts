import { type Dim, termsOf } from '../graph/dim.js'
import { dtypes, type Value } from '../graph/types.js'

/** Numbers for the symbols of a graph's shapes: batch, sequence, … */
export type Bindings = Readonly<Record<string, number>>

/** The number a dimension comes to; undefined where a symbol in it has no number. */
export function evaluate(dim: Dim, bindings: Bindings): number | undefined {
  if (typeof dim === 'number') return dim
  let sum = 0
  for (const { coefficient, factors } of termsOf(dim)) {
    let product = coefficient
    for (const factor of factors) product *= bindings[factor] ?? formulaValue(factor, bindings) ?? Number.NaN
    sum += product
  }
  return Number.isNaN(sum) ? undefined : sum
}

/** What the formulas of dim.ts mean: a rounded-down quotient, the greater of two. */
function formulaValue(factor: string, bindings: Bindings): number | undefined {
  const [, a, b] = factor.match(/^\[(.+)\/\/(.+)\]$/) ?? []
  const [, c, d] = factor.match(/^\[max\((.+),(.+)\)\]$/) ?? []
  const [left, right] = [a ?? c, b ?? d].map((text) =>
    text === undefined ? undefined : /^\d+$/.test(text) ? Number(text) : evaluate(text, bindings),
  )
  if (left === undefined || right === undefined) return undefined
  return a === undefined ? Math.max(left, right) : Math.floor(left / right)
}

/** Bytes a value takes; 0 where its shape can't be told. */
export function bytesOf(value: Value, bindings: Bindings): number {
  const size = (value.shape ?? [0]).reduce<number>((n, d) => n * (evaluate(d, bindings) ?? 0), 1)
  return Math.ceil(size * dtypes[value.dtype].bytes)
}
