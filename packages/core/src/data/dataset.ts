import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import type { Example } from './example.js'

/** Encoded examples, by number. */
export interface Dataset {
  readonly length: number
  /** tokens of an example: what batches are sorted by */
  size(i: number): number
  /** with images read */
  get(i: number): Promise<Example>
}

/** Bytes of an index entry: offset (float64), length (uint32), tokens (uint32). */
const entry = 16
/** Bytes gathered before they are written. */
const buffered = 2 ** 20

/**
 * Examples on disk: what encoding made is written to a file as it comes and read back example by example, so a data set of gigabytes
 * takes no more memory than a small one. The file has no name once it is open, so nothing is left of it however the process ends.
 */
export class Spool implements Dataset {
  length = 0
  private readonly data: Appended
  private readonly index: Appended

  private constructor(
    folder: string,
    private readonly load: (example: Example) => Promise<Example>,
  ) {
    this.data = new Appended(folder)
    this.index = new Appended(folder)
  }

  /** Writes examples to a file in `folder`; `load` completes each as it is read back. */
  static async fill(
    folder: string,
    examples: AsyncIterable<Example>,
    load: (example: Example) => Promise<Example>,
  ): Promise<Spool> {
    const spool = new Spool(folder, load)
    try {
      for await (const example of examples) spool.add(example)
    } catch (error) {
      spool.close()
      throw error
    }
    return spool
  }

  private add(example: Example): void {
    const bytes = serialize({ ...example, ids: [...example.ids] })
    const place = Buffer.alloc(entry)
    place.writeDoubleLE(this.data.size, 0)
    place.writeUInt32LE(bytes.length, 8)
    place.writeUInt32LE(example.ids.length + (example.decoderIds?.length ?? 0), 12)
    this.data.append(bytes)
    this.index.append(place)
    this.length++
  }

  size(i: number): number {
    return this.index.read(i * entry, entry).readUInt32LE(12)
  }
  get(i: number): Promise<Example> {
    const place = this.index.read(i * entry, entry)
    return this.load(deserialize(this.data.read(place.readDoubleLE(0), place.readUInt32LE(8))) as Example)
  }

  close(): void {
    this.data.close()
    this.index.close()
  }
}

/** A nameless file that is written at its end and read anywhere. */
export class Appended {
  size = 0
  private readonly fd: number
  private pending: Buffer[] = []
  private held = 0
  private written = 0

  constructor(folder: string) {
    const path = join(folder, `.examples-${process.pid}-${randomUUID()}`)
    this.fd = openSync(path, 'wx+')
    rmSync(path)
  }
  append(bytes: Buffer): void {
    this.pending.push(bytes)
    this.held += bytes.length
    this.size += bytes.length
    if (this.held >= buffered) this.flush()
  }
  private flush(): void {
    const all = Buffer.concat(this.pending)
    for (let done = 0; done < all.length; )
      done += writeSync(this.fd, all, done, all.length - done, this.written + done)
    this.written += all.length
    this.pending = []
    this.held = 0
  }
  read(at: number, length: number): Buffer {
    if (this.held > 0) this.flush()
    const bytes = Buffer.alloc(length)
    for (let done = 0; done < length; ) done += readSync(this.fd, bytes, done, length - done, at + done)
    return bytes
  }
  close(): void {
    closeSync(this.fd)
  }
}

/** Examples in memory. */
export const inMemory = (examples: readonly Example[]): Dataset => ({
  length: examples.length,
  size: (i) => examples[i].ids.length,
  get: async (i) => examples[i],
})
/** How many examples are looked at for a large one. */
const surveyed = 10_000
/** A batch of the largest example. */
export async function largest(data: Dataset, count: number): Promise<Example[]> {
  let most = 0
  for (let i = 1; i < Math.min(data.length, surveyed); i++) if (data.size(i) > data.size(most)) most = i
  return new Array<Example>(Math.min(count, data.length)).fill(await data.get(most))
}
export const take = (data: Dataset, indices: readonly number[]): Promise<Example[]> =>
  Promise.all(indices.map((i) => data.get(i)))
