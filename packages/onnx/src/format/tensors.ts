import { closeSync, openSync, readSync } from 'node:fs'
import { GraftError } from '../graph/errors.js'
import {
  type Constant,
  type DType,
  dtypeOfCode,
  dtypes,
  type Known,
  type TensorData,
  type Attribute,
} from '../graph/types.js'
import { knownLimit } from '../graph/ops/spec.js'
import { diskError } from './disk-error.js'
import { bfloat16ToFloat, halfToFloat } from './halves.js'
import type { TensorProto } from './gen/onnx-ml_pb.js'

export const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
export const byteLength = (dtype: DType, shape: readonly number[]): number =>
  Math.ceil(elements(shape) * dtypes[dtype].bytes)

/** The bytes of a constant, read from its file where it isn't in memory. Throws TRUNCATED_WEIGHTS when the file is too short. */
export function readBytes(data: TensorData): Uint8Array {
  if ('bytes' in data) return data.bytes
  data.make?.()
  const buffer = new Uint8Array(data.length)
  const fd = openSync(data.file, 'r')
  try {
    let read = 0
    while (read < data.length) {
      const n = readSync(fd, buffer, read, Math.min(data.length - read, 2 ** 30), data.offset + read)
      if (n === 0)
        throw new GraftError(
          'TRUNCATED_WEIGHTS',
          `${data.file}: expected ${data.length} bytes at offset ${data.offset}, the file ends after ${read}. Fetch or export it again.`,
        )
      read += n
    }
  } catch (cause) {
    throw diskError(cause, data.file)
  } finally {
    closeSync(fd)
  }
  return buffer
}

const views: Partial<Record<DType, (b: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  float32: (b) => new Float32Array(b),
  float64: (b) => new Float64Array(b),
  int64: (b) => new BigInt64Array(b),
  int32: (b) => new Int32Array(b),
  int16: (b) => new Int16Array(b),
  int8: (b) => new Int8Array(b),
  uint8: (b) => new Uint8Array(b),
  bool: (b) => new Uint8Array(b),
}

/** A constant's numbers; undefined for types that have no plain numbers here (float16, 4-bit, strings). */
export function numbersOf(constant: Constant): number[] | undefined {
  const view = views[constant.dtype]
  if (!view) return undefined
  const bytes = readBytes(constant.data)
  return Array.from(view(new Uint8Array(bytes).buffer), Number)
}

const floatViews: Partial<Record<DType, (b: ArrayBuffer) => Float32Array>> = {
  float32: (b) => new Float32Array(b),
  float64: (b) => Float32Array.from(new Float64Array(b)),
  float16: (b) => halfToFloat(new Uint16Array(b)),
  bfloat16: (b) => bfloat16ToFloat(new Uint16Array(b)),
}
/** A float constant's numbers as float32, in a buffer of their own; undefined for other types. */
export function floatValues({ dtype, data }: Constant): Float32Array | undefined {
  return floatViews[dtype]?.(new Uint8Array(readBytes(data)).buffer)
}

/** Contents worth knowing at compile time: scalars and short vectors. */
export function knownContents(constant: Constant): Known | undefined {
  if (constant.shape.length > 1 || elements(constant.shape) > knownLimit || !('bytes' in constant.data))
    return undefined
  const numbers = numbersOf(constant)
  return constant.dtype === 'bool' ? numbers?.map(Boolean) : numbers
}

/** Where an external tensor's bytes lie: a path already checked to be inside the model's folder. */
export type Locate = (location: string, tensor: string) => string

/** A TensorProto as a constant. Throws MALFORMED_TENSOR when sizes disagree. */
export function constantOf(tensor: TensorProto, locate: Locate): Constant {
  const dtype = dtypeOfCode(tensor.dataType)
  const shape = tensor.dims.map(Number)
  if (!dtype)
    throw new GraftError(
      'UNSUPPORTED_TYPE',
      `Tensor ${tensor.name} has element type ${tensor.dataType}, which Graft doesn't know.`,
    )
  if (shape.some((d) => d < 0 || !Number.isSafeInteger(d)))
    throw malformed(tensor.name, `has dimensions [${shape.join(', ')}]`)
  const data =
    tensor.dataLocation === 1 ? external(tensor, dtype, shape, locate) : { bytes: typedBytes(tensor, dtype) }
  const length = 'bytes' in data ? data.bytes.byteLength : data.length
  if (dtype !== 'string' && length !== byteLength(dtype, shape))
    throw malformed(
      tensor.name,
      `holds ${length} bytes; ${dtype}[${shape.join(', ')}] needs ${byteLength(dtype, shape)}`,
    )
  return { dtype, shape, data }
}
const malformed = (name: string, why: string) =>
  new GraftError(
    'MALFORMED_TENSOR',
    `Tensor ${name} ${why}. The model file is damaged or truncated; fetch or export it again.`,
  )

function external(tensor: TensorProto, dtype: DType, shape: readonly number[], locate: Locate): TensorData {
  const entry = (key: string) => tensor.externalData.find((e) => e.key === key)?.value
  const location = entry('location')
  if (!location) throw malformed(tensor.name, 'is external but names no file')
  const count = (key: string, otherwise: number): number => {
    const text = entry(key) ?? `${otherwise}`
    if (/^\d{1,16}$/.test(text)) return Number(text)
    throw malformed(
      tensor.name,
      `lies in a file at ${key} ${JSON.stringify(text)}, which is no number of bytes`,
    )
  }
  return {
    file: locate(location, tensor.name),
    offset: count('offset', 0),
    length: count('length', byteLength(dtype, shape)),
  }
}

function typedBytes(tensor: TensorProto, dtype: DType): Uint8Array {
  if (tensor.rawData.length > 0) return tensor.rawData
  const of = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  if (dtype === 'float32') return of(Float32Array.from(tensor.floatData))
  if (dtype === 'float64') return of(Float64Array.from(tensor.doubleData))
  if (dtype === 'int64') return of(BigInt64Array.from(tensor.int64Data))
  if (dtype === 'uint32') return of(Uint32Array.from(tensor.uint64Data, Number))
  if (dtype === 'uint64') return of(BigUint64Array.from(tensor.uint64Data))
  if (dtype === 'int32') return of(Int32Array.from(tensor.int32Data))
  if (dtypes[dtype].bytes === 2) return of(Uint16Array.from(tensor.int32Data))
  return of(Uint8Array.from(tensor.int32Data))
}

export function fillOf(attributes: Record<string, Attribute>): number {
  const value = attributes.value as { tensor: Constant } | undefined
  return value ? (numbersOf(value.tensor)?.[0] ?? Number.NaN) : 0
}
