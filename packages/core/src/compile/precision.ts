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
/** What products are computed in. */
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

/** What of a plan belongs to the model and its data, not to the machine, as JSON keeps it. */
export interface KeptPlan {
  /** names of matrices whose products stay in float32 */
  float32: string[]
  /** little-endian float32 numbers in base64, by the matrix's name */
  smoothing: Record<string, string>
}
export function keptPlan({ wide, smoothing }: IntegerPlan): KeptPlan {
  const text = (v: Float32Array) => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64')
  return {
    float32: [...wide],
    smoothing: Object.fromEntries([...smoothing].map(([name, v]) => [name, text(v)])),
  }
}
/** Equal vectors become one again, as products that share activations want it. */
export function planFrom({ float32, smoothing }: KeptPlan, levels: number): IntegerPlan {
  const vectors = new Map<string, Float32Array>()
  for (const text of Object.values(smoothing))
    vectors.set(
      text,
      vectors.get(text) ?? new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer),
    )
  return {
    levels,
    wide: new Set(float32),
    smoothing: new Map(
      Object.entries(smoothing).map(([name, text]) => [name, vectors.get(text) as Float32Array]),
    ),
  }
}
