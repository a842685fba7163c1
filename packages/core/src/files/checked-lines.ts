import { appendFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { diskError } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { type JsonLine, shown } from './json.js'

type Fields = Record<string, unknown>
/** CRC-32 of a line's content. */
const checksum = (line: Fields): string => crc32(JSON.stringify(line)).toString(16).padStart(8, '0')

/** An object as a line that says what it should read as. */
export const checkedLine = (value: Fields, content: (value: Fields) => Fields = (v) => v): string =>
  `${JSON.stringify({ ...value, check: checksum(content(JSON.parse(JSON.stringify(value)))) })}\n`

/** A line without its checksum, which must fit where there is one. Throws `code`. */
export function checked(
  { value: { check, ...value }, line }: JsonLine,
  path: string,
  code: string,
  content: (value: Fields) => Fields = (v) => v,
): Fields {
  if (check === undefined || check === checksum(content(value))) return value
  throw new GraftError(
    code,
    `${path}:${line}: the line was changed after it was written (its checksum is ${shown(check)}, its content gives ${checksum(content(value))}). Restore the file, or start again with --overwrite.`,
  )
}

/**
 * Appends a line in one write.
 *
 * @throws errors of the disk in words.
 */
export function appendLine(path: string, line: string): void {
  try {
    appendFileSync(path, line)
  } catch (cause) {
    throw diskError(cause, path)
  }
}
