import { Readable } from 'node:stream'
import { parse } from 'csv-parse'
import { GraftError } from '../errors.js'
import { decodedText } from './decode.js'
import type { DataRecord, Notice } from './records.js'

/** What a header may be separated by; the first wins a draw. */
const separators = [',', ';', '\t', '|'] as const

/**
 * Rows of a file with a header line. Columns are separated by what separates the header most often: a comma, or as spreadsheets write it
 * where the comma is the decimal sign, a semicolon. An empty cell is null. Throws DUPLICATE_COLUMN, BAD_DATA_LINE.
 */
export async function* csvRows(path: string, notice: Notice): AsyncGenerator<DataRecord> {
  const { chunks, notice: decoding } = await decodedText(path)
  if (decoding) notice(decoding)
  const { header, whole } = await withHeader(chunks)
  const delimiter = separatorOf(header)
  const rows = Readable.from(whole).pipe(
    parse({
      columns: (names: string[]) => checkedHeader(names, path),
      cast: (text, { header }) => (header || text !== '' ? text : null),
      info: true,
      skip_empty_lines: true,
      delimiter,
    }),
  )
  try {
    for await (const { record, info } of rows as AsyncIterable<{
      record: Record<string, string | null>
      info: { lines: number }
    }>)
      yield { fields: record, where: `${path}:${info.lines}` }
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError(
      'BAD_DATA_LINE',
      `${path}: not CSV with a header line whose columns are separated by ${named(delimiter)} (${(cause as Error).message}).`,
      { cause },
    )
  }
}
const named = (delimiter: string): string => (delimiter === '\t' ? 'tabs' : `"${delimiter}"`)

/** The first line, and the whole text with it. */
async function withHeader(
  chunks: AsyncIterable<string>,
): Promise<{ header: string; whole: AsyncIterable<string> }> {
  const iterator = chunks[Symbol.asyncIterator]()
  let start = ''
  for (;;) {
    const { value, done } = await iterator.next()
    if (done) break
    start += value
    if (/\S[^\n]*\n/.test(start)) break
  }
  async function* whole() {
    yield start
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value
  }
  return { header: start.trimStart().split('\n', 1)[0], whole: whole() }
}

function separatorOf(header: string): string {
  const bare = header.replace(/"(?:[^"]|"")*"/g, '')
  const counts = separators.map((s) => bare.split(s).length)
  return separators[counts.indexOf(Math.max(...counts))]
}

function checkedHeader(names: string[], path: string): string[] {
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined)
    throw new GraftError(
      'DUPLICATE_COLUMN',
      `${path}:1: two columns are named ${JSON.stringify(twice)}. Rename one: which of them is meant can't be told.`,
    )
  return names
}
