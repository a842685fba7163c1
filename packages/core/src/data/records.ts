import { GraftError, suggestion } from '../errors.js'
import { Float, floatText, jsonText } from './json.js'

/** One record of a data file, with where it stands for errors. */
export interface DataRecord {
  fields: Readonly<Record<string, unknown>>
  /** file:line, or what comes closest */
  where: string
  /** columns that were read, where somebody keeps account */
  read?: Set<string>
}
/** Told what a reader had to guess or pass over. */
export type Notice = (text: string) => void

/** The config's mapping from our names to the file's. */
export type Columns = Readonly<Record<string, string>>

/** Whether a record has something in a field. */
export const hasField = ({ fields }: DataRecord, columns: Columns, name: string): boolean =>
  fields[columns[name] ?? name] !== undefined && fields[columns[name] ?? name] !== null
/** What a record has in a field, by the config's column mapping. */
export function fieldOf({ fields, read }: DataRecord, columns: Columns, name: string): unknown {
  const column = columns[name] ?? name
  read?.add(column)
  return fields[column]
}

/** A text field of a record, by the config's column mapping. Throws MISSING_FIELD naming the fields there are. */
export function textField(record: DataRecord, columns: Columns, name: string): string {
  const text = textOf(fieldOf(record, columns, name))
  if (text === undefined) throw missingField(record, columns, name, 'a text')
  return text
}
/** A text, or a number or truth value as the file writes it. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : floatText(value)
  if (typeof value === 'bigint' || typeof value === 'boolean' || value instanceof Float) return String(value)
  return undefined
}
/** The name of a class. Throws MISSING_FIELD for one that is missing or blank. */
export function labelField(record: DataRecord, columns: Columns, name: string): string {
  const label = textOf(fieldOf(record, columns, name))
  if (label === undefined || label.trim() === '') throw missingField(record, columns, name, 'a label')
  return label
}
/** A list of texts. */
export function listField(record: DataRecord, columns: Columns, name: string): string[] {
  const value = fieldOf(record, columns, name)
  const texts = Array.isArray(value) ? value.map(textOf) : [undefined]
  if (texts.every((t) => t !== undefined)) return texts
  throw missingField(record, columns, name, 'a list of texts')
}
/** A finite number, or a text that is one. Throws MISSING_FIELD. */
export function numberField(record: DataRecord, columns: Columns, name: string): number {
  const text = textOf(fieldOf(record, columns, name))?.trim() ?? ''
  const value = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(value)) throw missingField(record, columns, name, 'a number')
  return value
}

/** An error about a field that isn't what it should be. */
export function missingField(
  { fields, where }: DataRecord,
  columns: Columns,
  name: string,
  expected: string,
): GraftError {
  const column = columns[name] ?? name
  const value = fields[column]
  const got =
    value === undefined ? 'none'
    : value === null ? 'nothing (an empty cell or null)'
    : jsonText(value).slice(0, 60) // biome-ignore format: a table
  return new GraftError(
    'MISSING_FIELD',
    `${where}: expected ${expected} in field ${column}, got ${got}. ${value === undefined ? `${suggestion(column, Object.keys(fields))} Map columns with data.columns.${name}.` : 'Mend the record, or leave it out of the file.'}`,
  )
}
