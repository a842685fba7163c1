import { createHash } from 'node:crypto'
import { existsSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  AtomicFile,
  type Constant,
  dtypes,
  floatValues,
  type FrozenProduct,
  type NarrowWeight,
  type TensorData,
} from '@graft-peft/onnx'
import { cacheFolder } from '../files/cache.js'
import { makeFolder } from '../files/folders.js'

/** The greatest magnitude of a weight's 8-bit numbers: symmetric, so that zero stays zero. */
const levels = 127
/** Numbers that are read at once. */
const chunk = 2 ** 22

/**
 * A product's frozen matrix in 8 bits, a scale per column of the result, in a file of its own in the cache, from where it is mapped. The file is named by what the
 * matrix is made of, and written when a session first needs it: what nobody computes with is never made.
 */
export function narrowed({ weight, turned }: FrozenProduct, smoothing?: Float32Array): NarrowWeight {
  const [rows, columns] = weight.shape
  const [k, n] = turned ? [columns, rows] : [rows, columns]
  const file = fileFor(weight, turned, smoothing)
  const make = () => {
    const length = 4 * n + k * n
    if (!existsSync(file) || statSync(file).size !== length) write(file, quantised(weight, turned, smoothing))
  }
  return {
    scales: { dtype: 'float32', shape: [n], data: { file, offset: 0, length: 4 * n, make } },
    numbers: { dtype: 'int8', shape: [k, n], data: { file, offset: 4 * n, length: k * n, make } },
    ...(smoothing ? { smoothing: inverseOf(smoothing) } : {}),
  }
}
/** Products that share activations share the vector, and are to share what is made of it. */
const inverses = new WeakMap<Float32Array, Constant>()
function inverseOf(smoothing: Float32Array): Constant {
  const made: Constant = inverses.get(smoothing) ?? {
    dtype: 'float32',
    shape: [smoothing.length],
    data: { bytes: bytesOf(smoothing.map((s) => 1 / s)) },
  }
  inverses.set(smoothing, made)
  return made
}
const bytesOf = (v: Float32Array | Int8Array): Uint8Array =>
  new Uint8Array(v.buffer, v.byteOffset, v.byteLength)

/** The same bytes of the same file give the same name. */
function fileFor({ data, dtype, shape }: Constant, turned: boolean, smoothing?: Float32Array): string {
  const hash = createHash('sha256').update(`${dtype} ${shape} ${turned}\n`)
  if ('bytes' in data) hash.update(data.bytes)
  else {
    const { size, mtimeMs } = statSync(data.file, { throwIfNoEntry: false }) ?? {}
    hash.update(`${data.file} ${size} ${mtimeMs} ${data.offset} ${data.length}\n`)
  }
  if (smoothing) hash.update(bytesOf(smoothing))
  return join(cacheFolder(), 'int8', `${hash.digest('hex').slice(0, 32)}.bin`)
}

/** Two processes may write the same file: each writes its own, and the last to finish gives the name. */
function write(file: string, parts: readonly (Float32Array | Int8Array)[]): void {
  makeFolder(dirname(file))
  const own = `${file}.${process.pid}`
  const written = new AtomicFile(own)
  try {
    for (const part of parts) written.write(bytesOf(part))
    written.finish()
    renameSync(own, file)
  } finally {
    written.discard()
  }
}

/** Scales [N], then numbers [K, N]. Besides the result, only a few megabytes of floats are held. */
export function quantised(
  weight: Constant,
  turned: boolean,
  smoothing?: Float32Array,
): [Float32Array, Int8Array] {
  const [rows, columns] = weight.shape
  const scales = new Float32Array(turned ? rows : columns)
  const factor = (r: number, c: number) => smoothing?.[turned ? c : r] ?? 1
  eachRow(weight, (row, r) => {
    for (let c = 0; c < columns; c++) {
      const n = turned ? r : c
      scales[n] = Math.max(scales[n], Math.abs(row[c] * factor(r, c)) / levels)
    }
  })
  const inverse = scales.map((s) => (s === 0 ? 0 : 1 / s))
  const numbers = new Int8Array(rows * columns)
  eachRow(weight, (row, r) => {
    for (let c = 0; c < columns; c++) {
      const q = Math.round(row[c] * factor(r, c) * inverse[turned ? r : c])
      numbers[turned ? c * rows + r : r * columns + c] = Math.max(-levels, Math.min(levels, q))
    }
  })
  return [scales, numbers]
}

/** Calls with each row of a matrix and its number, some rows read at a time. */
function eachRow(weight: Constant, visit: (row: Float32Array, r: number) => void): void {
  const [rows, columns] = weight.shape
  const step = Math.max(1, Math.floor(chunk / columns))
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first)
    const values = rowsOf(weight, first, count)
    for (let i = 0; i < count; i++) visit(values.subarray(i * columns, (i + 1) * columns), first + i)
  }
}
function rowsOf({ data, dtype, shape: [, columns] }: Constant, first: number, count: number): Float32Array {
  const width = columns * dtypes[dtype].bytes
  const part = slice(data, first * width, count * width)
  return floatValues({ dtype, shape: [count, columns], data: part }) as Float32Array
}
const slice = (data: TensorData, offset: number, length: number): TensorData =>
  'bytes' in data
    ? { bytes: data.bytes.subarray(offset, offset + length) }
    : { file: data.file, offset: data.offset + offset, length }

/** Some columns of a product's matrix as floats, [K, picks]. */
export function columnsOf(
  { weight, turned }: Pick<FrozenProduct, 'weight' | 'turned'>,
  picks: readonly number[],
): Float32Array {
  const [rows, columns] = weight.shape
  const k = turned ? columns : rows
  const found = new Float32Array(k * picks.length)
  if (turned)
    picks.forEach((n, i) => {
      const row = rowsOf(weight, n, 1)
      for (let c = 0; c < k; c++) found[c * picks.length + i] = row[c]
    })
  else
    eachRow(weight, (row, r) => {
      for (let i = 0; i < picks.length; i++) found[r * picks.length + i] = row[picks[i]]
    })
  return found
}
/** The greatest magnitude in each row of a product's matrix [K, N]. */
export function rowRanges({ weight, turned }: Pick<FrozenProduct, 'weight' | 'turned'>): Float32Array {
  const [rows, columns] = weight.shape
  const found = new Float32Array(turned ? columns : rows)
  eachRow(weight, (row, r) => {
    for (let c = 0; c < columns; c++) {
      const k = turned ? c : r
      found[k] = Math.max(found[k], Math.abs(row[c]))
    }
  })
  return found
}
