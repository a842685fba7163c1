import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { GraftError } from '../../errors.js'
import { blockTypes, type BlockType } from './blocks.js'

/** What GGUF's metadata holds. */
export type Meta = number | boolean | string | readonly Meta[]
/** Where a tensor lies, and how it is packed. Its shape is as torch has it, rows first. */
export interface GgufTensor {
  type: BlockType
  shape: readonly number[]
  file: string
  offset: number
  length: number
}
export interface GgufFile {
  metadata: ReadonlyMap<string, Meta>
  tensors: ReadonlyMap<string, GgufTensor>
}

/** No header is longer: vocabularies take some megabytes. */
const greatestHeader = 2 ** 28
const greatestText = 2 ** 24
const window = 2 ** 20

/**
 * Reads the header of a GGUF file (github.com/ggml-org/ggml, docs/gguf.md), versions 2 and 3. Every count is held against the bytes that the
 * file has left before anything is made of it.
 *
 * @throws FILE_NOT_FOUND, BAD_GGUF.
 */
export function readGguf(path: string): GgufFile {
  if (!existsSync(path)) throw new GraftError('FILE_NOT_FOUND', `${path}: no such file.`)
  const fd = openSync(path, 'r')
  try {
    return new Reader(path, fd).file()
  } finally {
    closeSync(fd)
  }
}
export const badGguf = (path: string, why: string): GraftError =>
  new GraftError('BAD_GGUF', `${path}: not a GGUF file that can be read: ${why}. Fetch or convert it again.`)

/** Values of metadata by their type's number. */
const scalars: Readonly<Record<number, [bytes: number, read: (b: Buffer) => number | boolean]>> = {
  0: [1, (b) => b.readUInt8()],
  1: [1, (b) => b.readInt8()],
  2: [2, (b) => b.readUInt16LE()],
  3: [2, (b) => b.readInt16LE()],
  4: [4, (b) => b.readUInt32LE()],
  5: [4, (b) => b.readInt32LE()],
  6: [4, (b) => b.readFloatLE()],
  7: [1, (b) => b.readUInt8() !== 0],
  10: [8, (b) => Number(b.readBigUInt64LE())],
  11: [8, (b) => Number(b.readBigInt64LE())],
  12: [8, (b) => b.readDoubleLE()],
}
const [text, list] = [8, 9]

class Reader {
  private at = 0
  private readonly size: number
  private held = { from: 0, bytes: Buffer.alloc(0) }
  constructor(
    private readonly path: string,
    private readonly fd: number,
  ) {
    this.size = fstatSync(fd).size
  }

  file(): GgufFile {
    if (this.size < 24 || this.take(4).toString('latin1') !== 'GGUF')
      throw badGguf(this.path, 'it does not begin as one')
    const version = this.take(4).readUInt32LE()
    if (version !== 2 && version !== 3) throw badGguf(this.path, `version ${version}; 2 and 3 are known`)
    const tensors = this.count('tensors', 24)
    const entries = this.count('entries', 13)
    const metadata = new Map<string, Meta>()
    for (let i = 0; i < entries; i++) metadata.set(this.text(), this.value(this.take(4).readUInt32LE()))
    const listed = Array.from({ length: tensors }, () => this.entry())
    return { metadata, tensors: this.located(listed, metadata.get('general.alignment') ?? 32) }
  }

  /** The next bytes; of the file's, and of what a header may have. */
  private take(length: number): Buffer {
    if (this.at + length > Math.min(this.size, greatestHeader))
      throw badGguf(this.path, `its header wants ${length} bytes at ${this.at}, the file has ${this.size}`)
    const { from, bytes } = this.held
    if (this.at < from || this.at + length > from + bytes.length) {
      const next = Buffer.alloc(Math.min(Math.max(window, length), this.size - this.at))
      for (let done = 0; done < next.length; )
        done += this.more(readSync(this.fd, next, done, next.length - done, this.at + done))
      this.held = { from: this.at, bytes: next }
    }
    const start = this.at - this.held.from
    this.at += length
    return this.held.bytes.subarray(start, start + length)
  }
  private more(read: number): number {
    if (read > 0) return read
    throw badGguf(this.path, 'it ends while it is read')
  }
  /** How many of something follow, of at least `bytes` bytes each. */
  private count(what: string, bytes: number): number {
    const count = this.take(8).readBigUInt64LE()
    const room = Math.min(this.size, greatestHeader) - this.at
    if (count > BigInt(Math.floor(room / bytes)))
      throw badGguf(this.path, `it claims ${count} ${what}, and has ${room} bytes left for them`)
    return Number(count)
  }
  private text(): string {
    const length = this.count('letters', 1)
    if (length > greatestText) throw badGguf(this.path, `it has a text of ${length} letters`)
    return this.take(length).toString('utf8')
  }
  private value(type: number, depth = 0): Meta {
    if (type === text) return this.text()
    if (type === list && depth < 4) {
      const inner = this.take(4).readUInt32LE()
      const count = this.count(
        'values',
        inner === text ? 8 : inner === list ? 12 : (scalars[inner]?.[0] ?? 1),
      )
      return Array.from({ length: count }, () => this.value(inner, depth + 1))
    }
    const scalar = scalars[type]
    if (!scalar) throw badGguf(this.path, `it has a value of type ${type}`)
    return scalar[1](this.take(scalar[0]))
  }
  private entry() {
    const name = this.text()
    const axes = this.take(4).readUInt32LE()
    if (axes < 1 || axes > 4) throw badGguf(this.path, `tensor ${name} has ${axes} axes`)
    const sizes = Array.from({ length: axes }, () => Number(this.take(8).readBigUInt64LE()))
    const number = this.take(4).readUInt32LE()
    return { name, shape: sizes.reverse(), number, offset: Number(this.take(8).readBigUInt64LE()) }
  }

  private located(entries: readonly ReturnType<Reader['entry']>[], alignment: Meta): Map<string, GgufTensor> {
    if (typeof alignment !== 'number' || !Number.isInteger(alignment) || alignment < 1)
      throw badGguf(this.path, `general.alignment is ${String(alignment)}`)
    const start = Math.ceil(this.at / alignment) * alignment
    const found = new Map<string, GgufTensor>()
    for (const { name, shape, number, offset } of entries) {
      const type = blockTypes.get(number)
      if (!type) throw badGguf(this.path, `tensor ${name} is of type ${number}; known are ${knownTypes}`)
      const count = shape.reduce((a, b) => a * b, 1)
      const length = (count / type.values) * type.bytes
      if (!Number.isSafeInteger(count) || count < 1 || (shape.at(-1) ?? 0) % type.values !== 0)
        throw badGguf(this.path, `tensor ${name} is ${type.name}[${shape.join(', ')}]`)
      if (!(start + offset + length <= this.size))
        throw badGguf(this.path, `tensor ${name} lies beyond its end, at ${offset}, ${length} bytes long`)
      if (found.has(name)) throw badGguf(this.path, `it has two tensors ${name}`)
      found.set(name, { type, shape, file: this.path, offset: start + offset, length })
    }
    return found
  }
}
const knownTypes = [...blockTypes.values()].map(({ name }) => name).join(', ')
