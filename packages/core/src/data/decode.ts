import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { GraftError } from '../errors.js'

/** Texts as they come from disk, and what is worth telling about how they were read. */
export interface DecodedText {
  chunks: AsyncIterable<string>
  notice?: string
}
type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'

const chunkBytes = 2 ** 18

/** Beginnings of files that are something else than their names say. */
const disguises: readonly (readonly [Buffer, string])[] = [
  [
    Buffer.from('PK\x03\x04', 'latin1'),
    'it is a zip archive or an Excel workbook; save the sheet as CSV (UTF-8), or unpack it',
  ],
  [Buffer.from('\xd0\xcf\x11\xe0', 'latin1'), 'it is an old Excel workbook; save the sheet as CSV (UTF-8)'],
  [Buffer.from('\x1f\x8b', 'latin1'), 'it is compressed with gzip; unpack it (gunzip)'],
  [Buffer.from('\x28\xb5\x2f\xfd', 'latin1'), 'it is compressed with zstd; unpack it (unzstd)'],
  [Buffer.from('PAR1'), 'it is Parquet; give it the ending .parquet'],
  [
    Buffer.from('version https://git-lfs'),
    'it is a pointer of Git LFS, not the file; fetch the file (git lfs pull)',
  ],
]

/**
 * A text file in whatever encoding it is: UTF-8, UTF-16 (by its mark, or by its zero bytes), else Windows-1252 where the bytes look like
 * it, which is told. Throws NOT_TEXT for bytes that are none of these, naming the first that isn't UTF-8.
 */
export async function decodedText(path: string): Promise<DecodedText> {
  const { encoding, notice } = await encodingOf(path)
  return { chunks: decoded(path, encoding), notice }
}

/** Bytes that come once, as from a pipe: UTF-8, or NOT_TEXT. */
export const decodedStream = (name: string, input: AsyncIterable<Buffer>): AsyncIterable<string> =>
  decoding(name, input, 'utf-8')

const decoded = (path: string, encoding: Encoding): AsyncIterable<string> =>
  decoding(path, bytesOf(path), encoding)
const bytesOf = (path: string): AsyncIterable<Buffer> => createReadStream(path, { highWaterMark: chunkBytes })

async function* decoding(
  name: string,
  input: AsyncIterable<Buffer>,
  encoding: Encoding,
): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding, { fatal: true })
  const decode = (bytes?: Buffer) => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined })
    } catch (cause) {
      throw new GraftError(
        'NOT_TEXT',
        `${name}: bytes that are not ${encoding.toUpperCase()}. Save it as UTF-8.`,
        { cause },
      )
    }
  }
  for await (const chunk of input) yield decode(chunk)
  yield decode()
}

async function encodingOf(path: string): Promise<{ encoding: Encoding; notice?: string }> {
  const start = await beginning(path, 4096)
  const disguise = disguises.find(([mark]) => start.subarray(0, mark.length).equals(mark))
  if (disguise) throw new GraftError('NOT_TEXT', `${path}: ${disguise[1]}.`)
  const wide = utf16(start)
  if (wide) return { encoding: wide }
  if (await isUtf8(path)) return { encoding: 'utf-8' }
  const bytes = new Survey()
  for await (const chunk of bytesOf(path)) bytes.add(chunk)
  if (!bytes.western)
    throw new GraftError(
      'NOT_TEXT',
      `${path}: it is not UTF-8 (first byte beyond ASCII: 0x${bytes.first.toString(16)} in line ${bytes.line}), nor does it look like UTF-16 or Windows-1252. Save it as UTF-8, as in iconv -f ITS-ENCODING -t UTF-8.`,
    )
  return {
    encoding: 'windows-1252',
    notice: `${path} is not UTF-8 (byte 0x${bytes.first.toString(16)} in line ${bytes.line}); read as Windows-1252. If letters come out wrong, save it as UTF-8.`,
  }
}

async function isUtf8(path: string): Promise<boolean> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    for await (const chunk of bytesOf(path)) decoder.decode(chunk, { stream: true })
    decoder.decode()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return false
    throw error
  }
}

async function beginning(path: string, length: number): Promise<Buffer> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

function utf16(start: Buffer): Encoding | undefined {
  if (start[0] === 0xff && start[1] === 0xfe) return 'utf-16le'
  if (start[0] === 0xfe && start[1] === 0xff) return 'utf-16be'
  const zeros = [0, 0]
  start.forEach((byte, i) => {
    if (byte === 0) zeros[i % 2]++
  })
  const [even, odd] = zeros.map((n) => n / Math.max(1, start.length / 2))
  if (odd > 0.4 && even < 0.1) return 'utf-16le'
  return even > 0.4 && odd < 0.1 ? 'utf-16be' : undefined
}

/** Bytes that Windows-1252 leaves undefined. */
const undefinedBytes: ReadonlySet<number> = new Set([0x81, 0x8d, 0x8f, 0x90, 0x9d])

/**
 * Whether bytes beyond ASCII look like a western text: single accented letters and quotes between ASCII ones. In Cyrillic, Greek or Asian
 * encodings they stand in runs.
 */
class Survey {
  first = 0
  line = 1
  private beyond = 0
  private beside = 0
  private undefinedOnes = 0
  private last = 0

  add(chunk: Buffer): void {
    for (const byte of chunk) {
      if (byte >= 0x80) this.see(byte)
      else if (byte === 10 && this.first === 0) this.line++
      this.last = byte
    }
  }
  private see(byte: number): void {
    if (this.first === 0) this.first = byte
    this.beyond++
    if (this.last >= 0x80) this.beside++
    if (undefinedBytes.has(byte)) this.undefinedOnes++
  }
  get western(): boolean {
    return this.undefinedOnes === 0 && this.beside <= 0.3 * this.beyond
  }
}

/** Lines of a text, the last without its break as well; a mark of the byte order at its beginning is not part of it. */
export async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() as string
    for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line
  }
  if (rest !== '') yield rest
}
