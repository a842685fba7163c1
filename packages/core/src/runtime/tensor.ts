import type { DType } from '@graft-peft/onnx'

/** Numbers of a tensor, row by row, in the array of its type. */
export type NumericArray = Float32Array | BigInt64Array | Int32Array | Uint8Array | Float64Array
/** A tensor on its way to or from a session. */
export interface Tensor {
  dtype: Extract<DType, 'float32' | 'int64' | 'int32' | 'bool' | 'float64'>
  shape: readonly number[]
  data: NumericArray
}
/** Tensors by name, as sessions take and give them. */
export type Tensors = Record<string, Tensor>

/** A float32 tensor; of one dimension where no shape is given. */
export const float32 = (
  data: Float32Array | readonly number[],
  shape: readonly number[] = [data.length],
): Tensor => ({
  dtype: 'float32',
  shape,
  data: data instanceof Float32Array ? data : Float32Array.from(data),
})
/** Vectors by name, as tensors on the same memory. */
export const vectorTensors = (vectors: Readonly<Record<string, Float32Array>>): Tensors =>
  Object.fromEntries(Object.entries(vectors).map(([name, v]) => [name, float32(v)]))
/** An int64 tensor of whole numbers; of one dimension where no shape is given. */
export const int64 = (values: ArrayLike<number>, shape: readonly number[] = [values.length]): Tensor => {
  const data = new BigInt64Array(values.length)
  for (let i = 0; i < values.length; i++) data[i] = BigInt(values[i])
  return { dtype: 'int64', shape, data }
}
/** The same whole numbers, 32 bits wide. */
export const int32 = ({ shape, data }: Tensor): Tensor => ({
  dtype: 'int32',
  shape,
  data: Int32Array.from(data as ArrayLike<number | bigint>, Number),
})
export const scalar = (value: number): Tensor => float32([value], [])
export const numbers = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number | bigint>, Number)
