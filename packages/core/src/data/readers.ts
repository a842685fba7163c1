import { existsSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { pluginFailed } from '../blame.js'
import { madeHere } from '../copy.js'
import { entryOf, GraftError } from '../errors.js'
import { shown } from '../files/json.js'
import { csvRows } from './csv.js'
import { imageFolder } from './image-folder.js'
import { jsonLines, jsonObjects, standardInput } from './json-lines.js'
import { parquetRows } from './parquet.js'
import type { DataRecord, Notice } from './records.js'

/** Reads data files of some endings: each record streams, so a file's size doesn't matter. */
export interface Reader {
  kind: 'reader'
  apiVersion: 1
  name: string
  /** of file names, as .csv */
  endings: readonly string[]
  /** A file's records, each with where it stands. `notice` is told what was guessed. Throws a GraftError with file and line for what can't be read. */
  read(path: string, notice: Notice): AsyncIterable<DataRecord>
}

/** Gives a reader its types and its kind; a package default-exports the result. */
export const defineReader = (reader: Omit<Reader, 'kind' | 'apiVersion'>): Reader => ({
  kind: 'reader',
  apiVersion: 1,
  ...reader,
  ...madeHere,
})

/** The built-in readers. */
export const readers: readonly Reader[] = [
  defineReader({ name: 'json-lines', endings: ['.jsonl', '.ndjson'], read: jsonLines }),
  defineReader({ name: 'json', endings: ['.json'], read: jsonObjects }),
  defineReader({ name: 'csv', endings: ['.csv', '.tsv'], read: csvRows }),
  defineReader({ name: 'parquet', endings: ['.parquet'], read: parquetRows }),
]

/** Endings that people have, and what to do. */
const hints: Readonly<Record<string, string>> = {
  '.xlsx': 'An Excel workbook: save the sheet as "CSV UTF-8".',
  '.xls': 'An old Excel workbook: save the sheet as "CSV UTF-8".',
  '.ods': 'A spreadsheet: save the sheet as CSV.',
  '.numbers': 'A spreadsheet: export it as CSV.',
  '.heic': 'A picture: save it as JPEG or PNG in a folder of images, and give the folder.',
  '.gz': 'Compressed: unpack it first (gunzip).',
  '.zip': 'An archive: unpack it first.',
  '.zst': 'Compressed: unpack it first (unzstd).',
  '.arrow':
    'Arrow, as datasets caches it: write Parquet (dataset.to_parquet) or JSON Lines (dataset.to_json).',
  '.txt': 'Plain text: make JSON Lines of it, {"text": "…"} a line.',
}

/**
 * Reads JSON Lines (.jsonl), JSON (.json: an array, or objects one after another), CSV and TSV (by comma,
 * semicolon or tab), Parquet, a folder of images in a folder per label, or JSON Lines from standard input
 * (-). `notice` is told what was guessed, such as the encoding; `known` are the readers to choose from, a
 * registry's with those of plugins.
 *
 * @throws DATA_NOT_FOUND, UNKNOWN_DATA_FORMAT, NOT_TEXT, BAD_DATA_LINE, DUPLICATE_COLUMN, EMPTY_DATA.
 */
export async function* readRecords(
  path: string,
  notice: Notice = () => {},
  known: readonly Reader[] = readers,
): AsyncGenerator<DataRecord> {
  let count = 0
  for await (const record of open(path, notice, known)) {
    count++
    yield record
  }
  if (count === 0) throw new GraftError('EMPTY_DATA', `${path}: the file holds no records.`)
}

function open(path: string, notice: Notice, known: readonly Reader[]): AsyncIterable<DataRecord> {
  if (path === standardInput) return jsonLines(path, notice)
  if (!existsSync(path)) throw new GraftError('DATA_NOT_FOUND', `${path}: no such data file.`)
  if (statSync(path).isDirectory()) return imageFolder(path, notice)
  const ending = extname(path).toLowerCase()
  const reader = known.find((r) => r.endings.includes(ending))
  const hint = entryOf(hints, ending)
  if (!reader)
    throw new GraftError(
      'UNKNOWN_DATA_FORMAT',
      `${path}: ${ending || 'a name without an extension'} is no known format. Known: ${known.flatMap((r) => r.endings).join(', ')}, or a folder of images.${hint ? ` ${hint}` : ''}`,
    )
  return checkedRecords(reader, path, notice)
}

/** A plugin's records are looked at before anything is made of them. Throws BAD_READER. */
async function* checkedRecords(reader: Reader, path: string, notice: Notice): AsyncGenerator<DataRecord> {
  try {
    for await (const record of reader.read(path, notice)) {
      if (typeof record?.where !== 'string' || typeof record.fields !== 'object' || record.fields === null)
        throw new GraftError(
          'BAD_READER',
          `Reader ${reader.name}: a record of ${path} should be { fields, where }, got ${shown(record)}. This is a fault of the reader's package.`,
        )
      yield record
    }
  } catch (cause) {
    throw pluginFailed(reader, cause)
  }
}
