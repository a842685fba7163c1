import { existsSync, readFileSync } from 'node:fs'
import { parse as parseCsv } from 'csv-parse/sync'
import { GraftError, suggestion } from '../errors.js'

/** One record of a data file, with where it stands for errors. */
export interface DataRecord {
  fields: Readonly<Record<string, unknown>>
  /** file:line */
  where: string
}

const standardInput = '-'

/** Reads a JSON Lines (.jsonl, .json) or CSV (.csv, .tsv) file, or JSON Lines from standard input (-). Throws DATA_NOT_FOUND, BAD_DATA_LINE, EMPTY_DATA. */
export function readRecords(path: string): DataRecord[] {
  if (path !== standardInput && !existsSync(path)) throw new GraftError('DATA_NOT_FOUND', `${path}: no such data file.`)
  const text = readFileSync(path === standardInput ? 0 : path, 'utf8').replace(/^\uFEFF/, '')
  const records = /\.[ct]sv$/i.test(path) ? csvRecords(path, text) : jsonRecords(path, text)
  if (records.length === 0) throw new GraftError('EMPTY_DATA', `${path}: the file holds no records.`)
  return records
}

function jsonRecords(path: string, text: string): DataRecord[] {
  return text.split('\n').flatMap((line, i) => (line.trim() === '' ? [] : [{ fields: parseLine(line, `${path}:${i + 1}`), where: `${path}:${i + 1}` }]))
}
function parseLine(line: string, where: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new GraftError('BAD_DATA_LINE', `${where}: not JSON (${(cause as Error).message}): ${excerpt(line)}. Each line must be one JSON object.`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new GraftError('BAD_DATA_LINE', `${where}: expected a JSON object, got ${excerpt(line)}.`)
  return value as Record<string, unknown>
}
const excerpt = (line: string): string => (line.length > 60 ? `${line.slice(0, 60)}…` : line)

function csvRecords(path: string, text: string): DataRecord[] {
  try {
    const rows = parseCsv(text, { columns: true, info: true, skip_empty_lines: true, delimiter: path.endsWith('.tsv') ? '\t' : ',' }) as unknown as {
      record: Record<string, string>
      info: { lines: number }
    }[]
    return rows.map(({ record, info }) => ({ fields: record, where: `${path}:${info.lines}` }))
  } catch (cause) {
    throw new GraftError('BAD_DATA_LINE', `${path}: not CSV with a header line (${(cause as Error).message}).`, { cause })
  }
}

/** A text field of a record, by the config's column mapping. Throws MISSING_FIELD naming the fields there are. */
export function textField({ fields, where }: DataRecord, columns: Readonly<Record<string, string>>, name: string): string {
  const column = columns[name] ?? name
  const value = fields[column]
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const known = Object.keys(fields)
  throw new GraftError(
    'MISSING_FIELD',
    `${where}: expected a text in field ${column}, got ${value === undefined ? 'none' : JSON.stringify(value)}. ${suggestion(column, known)} Map columns with data.columns.${name}.`,
  )
}
export const hasField = ({ fields }: DataRecord, columns: Readonly<Record<string, string>>, name: string): boolean => fields[columns[name] ?? name] !== undefined
