import {
  type FrozenProduct,
  type IntegerOptions,
  type NarrowWeight,
  type Precision as HalfPrecision,
  precisions as halves,
} from '@graft-peft/onnx'
import { narrowed } from '../model/eight-bits.js'

/** What a step can compute products in. */
export const precisions = [...halves, 'int8'] as const
export type Precision = HalfPrecision | 'int8'

/** How products run in 8-bit integers on this machine, for this model. */
export interface IntegerPlan {
  /** the greatest magnitude that activations come to: 127, or 63 where sums of two products saturate */
  levels: number
  /** products that stay in float32, by the name of their matrix */
  wide: ReadonlySet<string>
  /** what columns of the activations are divided by, and rows of the matrix multiplied by, per product */
  smoothing: ReadonlyMap<string, Float32Array>
}
/** A precision, and how where it is int8. */
export interface PrecisionOptions {
  /** float32 when left out */
  precision?: Precision
  integers?: IntegerPlan
}
export const everything: IntegerPlan = { levels: 127, wide: new Set(), smoothing: new Map() }

/** What the graph's pass wants, where products are to be computed in integers; equal matrices are one constant. */
export function integersFor({
  precision,
  integers = everything,
}: PrecisionOptions): IntegerOptions | undefined {
  if (precision !== 'int8') return undefined
  const { levels, wide, smoothing } = integers
  const made = new Map<string, NarrowWeight>()
  const narrow = (product: FrozenProduct) => {
    const { name, turned } = product
    if (wide.has(name)) return undefined
    const key = `${name}|${turned}`
    const found = made.get(key) ?? narrowed(product, smoothing.get(name))
    made.set(key, found)
    return found
  }
  return { levels, narrow }
}
