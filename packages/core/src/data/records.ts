import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs'
import { extname, join, relative, sep } from 'node:path'
import { createInterface } from 'node:readline'
import { parse as csvParser } from 'csv-parse'
import { GraftError, suggestion } from '../errors.js'
import { jsonItems } from './json-items.js'

/** One record of a data file, with where it stands for errors. */
export interface DataRecord {
  fields: Readonly<Record<string, unknown>>
  /** file:line, or what comes closest */
  where: string
}
type Records = AsyncIterable<DataRecord>

const standardInput = '-'

/** Readers by file extension; each streams, so a file's size doesn't matter. */
const readers: Readonly<Record<string, (path: string) => Records>> = {
  '.jsonl': jsonLines,
  '.ndjson': jsonLines,
  '.json': json,
  '.csv': (path) => csv(path, ','),
  '.tsv': (path) => csv(path, '\t'),
  '.parquet': parquet,
}

/**
 * Reads JSON Lines (.jsonl), JSON (.json: an array, or lines), CSV, TSV or Parquet, a folder of images in a folder per label, or JSON
 * Lines from standard input (-). Throws DATA_NOT_FOUND, UNKNOWN_DATA_FORMAT, BAD_DATA_LINE, EMPTY_DATA.
 */
export async function* readRecords(path: string): AsyncGenerator<DataRecord> {
  let count = 0
  for await (const record of open(path)) {
    count++
    yield record
  }
  if (count === 0) throw new GraftError('EMPTY_DATA', `${path}: the file holds no records.`)
}

function open(path: string): Records {
  if (path === standardInput) return jsonLines(path)
  if (!existsSync(path)) throw new GraftError('DATA_NOT_FOUND', `${path}: no such data file.`)
  if (statSync(path).isDirectory()) return imageFolder(path)
  const reader = readers[extname(path).toLowerCase()]
  if (!reader)
    throw new GraftError(
      'UNKNOWN_DATA_FORMAT',
      `${path}: ${extname(path) || 'a name without an extension'} is no known format. Known: ${Object.keys(readers).join(', ')}, or a folder of images.`,
    )
  return reader(path)
}

async function* jsonLines(path: string): AsyncGenerator<DataRecord> {
  const input = path === standardInput ? process.stdin : createReadStream(path)
  let number = 0
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++
    const text = number === 1 ? line.replace(/^\uFEFF/, '') : line
    if (text.trim() !== '')
      yield { fields: parseObject(text, `${path}:${number}`), where: `${path}:${number}` }
  }
}

/** An array of objects, or objects one after another; told apart by the first character. */
async function* json(path: string): AsyncGenerator<DataRecord> {
  for await (const { text, line } of jsonItems(path))
    yield { fields: parseObject(text, `${path}:${line}`), where: `${path}:${line}` }
}

function parseObject(text: string, where: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const { message } = cause as Error
    const column =
      Number(message.match(/position (\d+)/)?.[1] ?? (message.includes('end of JSON') ? text.length : 0)) + 1
    throw new GraftError(
      'BAD_DATA_LINE',
      `${where}:${column}: not JSON (${message}): ${excerpt(text)}. Each line must be one JSON object.`,
      { cause },
    )
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new GraftError('BAD_DATA_LINE', `${where}:1: expected a JSON object, got ${excerpt(text)}.`)
  return value as Record<string, unknown>
}
const excerpt = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text)

async function* csv(path: string, delimiter: string): AsyncGenerator<DataRecord> {
  const rows = createReadStream(path).pipe(
    csvParser({ columns: true, info: true, skip_empty_lines: true, bom: true, delimiter }),
  )
  try {
    for await (const { record, info } of rows as AsyncIterable<{
      record: Record<string, string>
      info: { lines: number }
    }>)
      yield { fields: record, where: `${path}:${info.lines}` }
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError(
      'BAD_DATA_LINE',
      `${path}: not CSV with a header line (${(cause as Error).message}).`,
      { cause },
    )
  }
}

/** Rows read at a time from a Parquet file. */
const parquetRows = 4096
async function* parquet(path: string): AsyncGenerator<DataRecord> {
  const [{ asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects }, { compressors }] =
    await Promise.all([import('hyparquet'), import('hyparquet-compressors')])
  try {
    const file = await asyncBufferFromFile(path)
    const metadata = await parquetMetadataAsync(file)
    const total = Number(metadata.num_rows)
    for (let start = 0; start < total; start += parquetRows) {
      const rows = await parquetReadObjects({
        file,
        metadata,
        compressors,
        rowStart: start,
        rowEnd: Math.min(total, start + parquetRows),
      })
      for (const [i, row] of rows.entries())
        yield { fields: plain(row) as Record<string, unknown>, where: `${path}:row ${start + i + 1}` }
    }
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError(
      'BAD_DATA_LINE',
      `${path}: can't be read as Parquet (${(cause as Error).message}).`,
      { cause },
    )
  }
}
/** Whole numbers come as bigint. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}

const images: ReadonlySet<string> = new Set([
  '.png',
  '.jpg',
  '.jpeg',
  '.webp',
  '.gif',
  '.avif',
  '.tif',
  '.tiff',
  '.bmp',
])
/** A folder per label with image files in it, in the order of their names. */
async function* imageFolder(path: string): AsyncGenerator<DataRecord> {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter(
    (e) => e.isFile() && images.has(extname(e.name).toLowerCase()),
  )
  const paths = files.map((e) => join(e.parentPath, e.name)).sort()
  for (const file of paths) {
    const [label, ...rest] = relative(path, file).split(sep)
    if (rest.length === 0)
      throw new GraftError(
        'BAD_DATA_LINE',
        `${file}: lies in no folder that says its label; expected ${join(path, 'LABEL', label)}.`,
      )
    yield { fields: { image: file, label }, where: file }
  }
}

/** The config's mapping from our names to the file's. */
export type Columns = Readonly<Record<string, string>>

export const hasField = ({ fields }: DataRecord, columns: Columns, name: string): boolean =>
  fields[columns[name] ?? name] !== undefined && fields[columns[name] ?? name] !== null
export const fieldOf = ({ fields }: DataRecord, columns: Columns, name: string): unknown =>
  fields[columns[name] ?? name]

/** A text field of a record, by the config's column mapping. Throws MISSING_FIELD naming the fields there are. */
export function textField(record: DataRecord, columns: Columns, name: string): string {
  const value = fieldOf(record, columns, name)
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw missingField(record, columns, name, 'a text')
}
/** A list of texts. */
export function listField(record: DataRecord, columns: Columns, name: string): string[] {
  const value = fieldOf(record, columns, name)
  if (Array.isArray(value) && value.every((v) => typeof v === 'string' || typeof v === 'number'))
    return value.map(String)
  throw missingField(record, columns, name, 'a list of texts')
}
export function missingField(
  { fields, where }: DataRecord,
  columns: Columns,
  name: string,
  expected: string,
): GraftError {
  const column = columns[name] ?? name
  const value = fields[column]
  const got = value === undefined ? 'none' : (JSON.stringify(value)?.slice(0, 60) ?? String(value))
  return new GraftError(
    'MISSING_FIELD',
    `${where}: expected ${expected} in field ${column}, got ${got}. ${suggestion(column, Object.keys(fields))} Map columns with data.columns.${name}.`,
  )
}
