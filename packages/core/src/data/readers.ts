import { existsSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { GraftError } from '../errors.js'
import { csvRows } from './csv.js'
import { imageFolder } from './image-folder.js'
import { jsonLines, jsonObjects, standardInput } from './json-lines.js'
import { parquetRows } from './parquet.js'
import type { DataRecord, Notice } from './records.js'

type Records = AsyncIterable<DataRecord>

/** Readers by file extension; each streams, so a file's size doesn't matter. */
const readers: Readonly<Record<string, (path: string, notice: Notice) => Records>> = {
  '.jsonl': jsonLines,
  '.ndjson': jsonLines,
  '.json': jsonObjects,
  '.csv': csvRows,
  '.tsv': csvRows,
  '.parquet': parquetRows,
}

/** Endings that people have, and what to do. */
const hints: Readonly<Record<string, string>> = {
  '.xlsx': 'An Excel workbook: save the sheet as "CSV UTF-8".',
  '.xls': 'An old Excel workbook: save the sheet as "CSV UTF-8".',
  '.ods': 'A spreadsheet: save the sheet as CSV.',
  '.numbers': 'A spreadsheet: export it as CSV.',
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
 * (-). `notice` is told what was guessed, such as the encoding.
 *
 * @throws DATA_NOT_FOUND, UNKNOWN_DATA_FORMAT, NOT_TEXT, BAD_DATA_LINE, DUPLICATE_COLUMN, EMPTY_DATA.
 */
export async function* readRecords(path: string, notice: Notice = () => {}): AsyncGenerator<DataRecord> {
  let count = 0
  for await (const record of open(path, notice)) {
    count++
    yield record
  }
  if (count === 0) throw new GraftError('EMPTY_DATA', `${path}: the file holds no records.`)
}

function open(path: string, notice: Notice): Records {
  if (path === standardInput) return jsonLines(path, notice)
  if (!existsSync(path)) throw new GraftError('DATA_NOT_FOUND', `${path}: no such data file.`)
  if (statSync(path).isDirectory()) return imageFolder(path, notice)
  const ending = extname(path).toLowerCase()
  const reader = readers[ending]
  if (!reader)
    throw new GraftError(
      'UNKNOWN_DATA_FORMAT',
      `${path}: ${ending || 'a name without an extension'} is no known format. Known: ${Object.keys(readers).join(', ')}, or a folder of images. ${hints[ending] ?? ''}`,
    )
  return reader(path, notice)
}
