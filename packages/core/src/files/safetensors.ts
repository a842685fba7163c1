import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { bfloat16ToFloat, floatToBfloat16, floatToHalf, halfToFloat, writeAtomically } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { isObject, jsonOf, shown } from './json.js'

/** The safetensors container: 8 bytes header length, JSON header, raw tensors. https://github.com/huggingface/safetensors */
export interface StoredTensor {
  dtype: keyof typeof bytesOf
  shape: readonly number[]
  data: Uint8Array
}
export interface SafetensorsFile {
  tensors: Map<string, StoredTensor>
  metadata: Record<string, string>
}

/** Bytes of a number of each type that the format has; files may hold tensors that nobody reads. */
const bytesOf = {
  F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1, C64: 8,
  I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1,
} as const // biome-ignore format: a table
/** Headers above this are refused before anything is allocated; the format's own limit. */
const greatestHeader = 100_000_000

/** Where one tensor lies in a file. */
export interface LocatedTensor {
  dtype: StoredTensor['dtype']
  shape: readonly number[]
  file: string
  /** of its first byte, from the start of the file */
  offset: number
  length: number
}

/** Reads a whole file. Throws FILE_NOT_FOUND, or BAD_SAFETENSORS naming the tensor and what is wrong with it. */
export function readSafetensors(path: string): SafetensorsFile {
  const { tensors: located, metadata } = locateTensors(path)
  const fd = openSync(path, 'r')
  try {
    const tensors = new Map(
      [...located].map(([name, { dtype, shape, offset, length }]) => [
        name,
        { dtype, shape, data: take(fd, offset, length) },
      ]),
    )
    return { tensors, metadata }
  } finally {
    closeSync(fd)
  }
}

/** Reads the header alone: where every tensor lies. Sizes are checked before anything is allocated. Throws FILE_NOT_FOUND or BAD_SAFETENSORS. */
export function locateTensors(path: string): {
  tensors: Map<string, LocatedTensor>
  metadata: Record<string, string>
} {
  if (!existsSync(path)) throw new GraftError('FILE_NOT_FOUND', `${path}: no such file.`)
  const fd = openSync(path, 'r')
  try {
    const size = fstatSync(fd).size
    if (size < 8) throw bad(path, `only ${size} bytes long`)
    const headerLength = Buffer.from(take(fd, 0, 8)).readBigUInt64LE()
    if (headerLength > greatestHeader || 8n + headerLength > size)
      throw bad(path, `its header claims ${headerLength} bytes, the file has ${size}`)
    const start = 8 + Number(headerLength)
    const { __metadata__: metadata = {}, ...entries } = parseHeader(
      path,
      Buffer.from(take(fd, 8, start - 8)).toString(),
    )
    const tensors = new Map(
      Object.entries(entries).map(([name, entry]) => [name, locate(path, name, entry, start, size)]),
    )
    requireApart(path, tensors)
    return { tensors, metadata: textsOf(path, metadata) }
  } finally {
    closeSync(fd)
  }
}

function take(fd: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const n = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), at + done)
    if (n === 0) break
    done += n
  }
  return bytes
}
const bad = (path: string, why: string) =>
  new GraftError('BAD_SAFETENSORS', `${path}: not a whole safetensors file: ${why}. Fetch or write it again.`)

function parseHeader(path: string, text: string): Record<string, unknown> {
  const header = jsonOf(text, `${path}: header`, 'BAD_SAFETENSORS')
  if (isObject(header)) return header
  throw bad(path, 'its header is not a JSON object')
}

/** What stands beside the tensors: names and texts, and nothing else by the format. */
function textsOf(path: string, metadata: unknown): Record<string, string> {
  if (isObject(metadata) && Object.values(metadata).every((v) => typeof v === 'string'))
    return metadata as Record<string, string>
  throw bad(path, `its __metadata__ is not names and texts but ${shown(metadata)}`)
}

const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0

function locate(path: string, name: string, entry: unknown, start: number, size: number): LocatedTensor {
  const {
    dtype,
    shape,
    data_offsets: offsets,
  } = (entry ?? {}) as { dtype?: StoredTensor['dtype']; shape?: unknown[]; data_offsets?: unknown[] }
  if (typeof dtype !== 'string' || !Object.hasOwn(bytesOf, dtype))
    throw bad(path, `tensor ${name} has type ${shown(dtype)}; known are ${Object.keys(bytesOf).join(', ')}`)
  if (!Array.isArray(shape) || !shape.every(isSize))
    throw bad(path, `tensor ${name} has no shape of whole numbers`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw bad(path, `tensor ${name} has no data_offsets of two whole numbers`)
  const [from, to] = offsets as number[]
  const expected = shape.reduce((a, b) => a * b, 1) * bytesOf[dtype]
  if (to < from || start + to > size)
    throw bad(path, `tensor ${name} lies at bytes ${from}–${to} of ${size - start}`)
  if (to - from !== expected)
    throw bad(
      path,
      `tensor ${name} is ${dtype}[${shape.join(', ')}], ${expected} bytes, but takes ${to - from}`,
    )
  return { dtype, shape, file: path, offset: start + from, length: to - from }
}

function requireApart(path: string, tensors: ReadonlyMap<string, LocatedTensor>): void {
  const order = [...tensors].filter(([, t]) => t.length > 0).sort(([, a], [, b]) => a.offset - b.offset)
  order.forEach(([name, { offset }], i) => {
    const [before, previous] = order[i - 1] ?? []
    if (previous && previous.offset + previous.length > offset)
      throw bad(path, `tensors ${before} and ${name} overlap`)
  })
}

/** Writes a file atomically; tensors in the order given. */
export function writeSafetensors(path: string, { tensors, metadata }: SafetensorsFile): void {
  const header = safetensorsHeader(
    [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, length: data.byteLength })),
    metadata,
  )
  writeAtomically(path, Buffer.concat([header, ...[...tensors.values()].map((t) => t.data)]))
}

/** What stands before the tensors' bytes, which follow in this order; padded to 8 bytes as HF's writer does. */
export function safetensorsHeader(
  tensors: readonly {
    name: string
    dtype: StoredTensor['dtype']
    shape: readonly number[]
    length: number
  }[],
  metadata: Record<string, string>,
): Uint8Array {
  let offset = 0
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const { name, dtype, shape, length } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + length] }
    offset += length
  }
  const json = Buffer.from(JSON.stringify(header))
  const text = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text])
}

/** Float32 numbers as a tensor for a file. */
export const storedFloats = (data: Float32Array, shape: readonly number[]): StoredTensor => ({
  dtype: 'F32',
  shape,
  data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
})

/** Numbers in the type a file wants them. */
export function storedNumbers(
  data: Float32Array,
  shape: readonly number[],
  dtype: 'F32' | 'I32' | 'I64',
): StoredTensor {
  if (dtype === 'F32') return storedFloats(data, shape)
  const view = dtype === 'I32' ? Int32Array.from(data) : BigInt64Array.from(data, BigInt)
  return { dtype, shape, data: new Uint8Array(view.buffer) }
}

/** How numbers are stored, by type. */
export const encoders = {
  F32: (values: Float32Array): ArrayBufferView => values,
  F16: floatToHalf,
  BF16: floatToBfloat16,
} as const

/**
 * A tensor's numbers as float32; whole numbers up to 2²⁴ are exact.
 *
 * @throws UNSUPPORTED_TYPE for truth values and bytes.
 */
export function floatsOf({ dtype, data }: Pick<StoredTensor, 'dtype' | 'data'>, name: string): Float32Array {
  const buffer = new Uint8Array(data).buffer
  if (dtype === 'F32') return new Float32Array(buffer)
  if (dtype === 'I32') return Float32Array.from(new Int32Array(buffer))
  if (dtype === 'I64') return Float32Array.from(new BigInt64Array(buffer), Number)
  if (dtype === 'F64') return Float32Array.from(new Float64Array(buffer))
  if (dtype === 'BF16') return bfloat16ToFloat(new Uint16Array(buffer))
  if (dtype === 'F16') return halfToFloat(new Uint16Array(buffer))
  throw new GraftError('UNSUPPORTED_TYPE', `Tensor ${name} is ${dtype}; numbers are expected.`)
}
