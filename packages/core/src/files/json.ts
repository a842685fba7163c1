import { existsSync, readFileSync } from 'node:fs'
import { diskError } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'

/** No file that Graft reads nests deeper; a thousand brackets are there to exhaust a stack. */
const deepest = 100
/** Above this a JSON file isn't read whole: V8's longest text is not much longer. */
const longest = 2 ** 28

type Fields = Record<string, unknown>
export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** JSON from outside. Throws `code` with the place that the text has (a file, or file:line), and line and column of what is wrong in it. */
export function jsonOf(text: string, where: string, code: string): unknown {
  const clean = text.startsWith('\ufeff') ? text.slice(1) : text
  try {
    requireShallow(clean)
    return JSON.parse(clean)
  } catch (cause) {
    throw new GraftError(code, `${where}: not JSON (${placed((cause as Error).message, clean)}).`, { cause })
  }
}

/** The same for a whole file. Throws `code`, FILE_NOT_FOUND and other errors of the disk. */
export function readJson(path: string, code: string): unknown {
  return jsonOf(readText(path), path, code)
}
/** A file that must hold an object. */
export function readObject(path: string, code: string): Fields {
  const value = readJson(path, code)
  if (isObject(value)) return value
  throw new GraftError(code, `${path}: not a JSON object, but ${shown(value)}.`)
}

/** A text file that is small enough to be read whole. Throws TOO_LARGE, and errors of the disk in words. */
export function readText(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw diskError(cause, path)
  }
  if (bytes.length > longest)
    throw new GraftError(
      'TOO_LARGE',
      `${path}: ${bytes.length} bytes; at most ${longest} are read as one text.`,
    )
  return bytes.toString()
}

/** One object of a file of JSON Lines, with the line it stands on. */
export interface JsonLine {
  line: number
  value: Fields
}
/**
 * JSON Lines that Graft itself appends to. A last line that a crash, a full disk or a power cut left torn
 * (cut short, or zeros) is dropped; a line that is no object anywhere else is damage. Nothing when the file
 * isn't there.
 *
 * @throws `code` with file and line.
 */
export function readJsonLines(path: string, code: string): JsonLine[] {
  if (!existsSync(path)) return []
  const lines = readText(path).split('\n')
  const last = lines.findLastIndex((text) => text.replaceAll('\0', '').trim() !== '')
  return lines.slice(0, last + 1).flatMap((text, i) => {
    if (text.trim() === '') return []
    const torn = i === last && (lines.length - 1 === last || text.includes('\0'))
    try {
      const value = jsonOf(text, `${path}:${i + 1}`, code)
      if (!isObject(value))
        throw new GraftError(code, `${path}:${i + 1}: not a JSON object, but ${shown(value)}.`)
      return [{ line: i + 1, value }]
    } catch (error) {
      if (torn) return []
      throw error
    }
  })
}

/** A value in a message: as JSON, cut where it is long, whatever it is. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  let text: string
  try {
    text = JSON.stringify(value) ?? String(value)
  } catch {
    text = Array.isArray(value) ? 'a list too deep to show' : 'a value that can not be shown'
  }
  text = text.replace(/(\w:\/\/)[^"\s]*@/g, '$1…@')
  return text.length > 120 ? `${text.slice(0, 100)}… (${text.length} characters)` : text
}

function requireShallow(text: string): void {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 34 /* " */) inString = !inString
    else if (inString && c === 92 /* \ */) i++
    else if (!inString && (c === 91 || c === 123) && ++depth > deepest)
      throw new Error(`nested more than ${deepest} deep at position ${i}`)
    else if (!inString && (c === 93 || c === 125)) depth--
  }
}

/** V8's message with line and column where it gives a position, and without the text that it quotes. */
function placed(message: string, text: string): string {
  const [, what, at] = message.match(/^(.*?) (?:in JSON )?at position (\d+)/s) ?? []
  if (at === undefined) return shown(message).slice(1, -1)
  const before = text.slice(0, Number(at)).split('\n')
  return `${what}, line ${before.length}, column ${(before.at(-1) as string).length + 1}`
}
