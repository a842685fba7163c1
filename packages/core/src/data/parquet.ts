import { GraftError } from '../errors.js'
import { Float } from './json.js'
import type { DataRecord } from './records.js'

/** Rows read at a time from a Parquet file. */
const rowsAtOnce = 4096

/** Rows of a Parquet file. Throws BAD_DATA_LINE, DUPLICATE_COLUMN. */
export async function* parquetRows(path: string): AsyncGenerator<DataRecord> {
  const [{ asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] =
    await Promise.all([import('hyparquet'), import('hyparquet-compressors')])
  try {
    const file = await asyncBufferFromFile(path)
    const metadata = await parquetMetadataAsync(file)
    const columns = parquetSchema(metadata).children
    checkNames(
      columns.map((c) => c.element.name),
      path,
    )
    const floats = new Set(
      columns.filter((c) => ['FLOAT', 'DOUBLE'].includes(String(c.element.type))).map((c) => c.element.name),
    )
    const total = Number(metadata.num_rows)
    for (let start = 0; start < total; start += rowsAtOnce) {
      const rows = await parquetReadObjects({
        file,
        metadata,
        compressors,
        rowStart: start,
        rowEnd: Math.min(total, start + rowsAtOnce),
      })
      for (const [i, row] of rows.entries())
        yield { fields: fieldsOf(row, floats), where: `${path}:row ${start + i + 1}` }
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

function checkNames(names: readonly string[], path: string): void {
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined)
    throw new GraftError(
      'DUPLICATE_COLUMN',
      `${path}: two columns are named ${JSON.stringify(twice)}. Rename one.`,
    )
}

const fieldsOf = (row: Record<string, unknown>, floats: ReadonlySet<string>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      floats.has(name) && Number.isInteger(value) ? new Float(value as number) : plain(value),
    ]),
  )

/** Whole numbers come as bigint, and stay so where a number would lose digits. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}
