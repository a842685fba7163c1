import { GraftError } from '../errors.js'
import { decodedStream, decodedText, linesOf } from './decode.js'
import { jsonItems } from './json-items.js'
import { JsonFault, parseJson } from './json.js'
import type { DataRecord, Notice } from './records.js'

/** The name of standard input. */
export const standardInput = '-'

/** An object a line. Throws BAD_DATA_LINE. */
export async function* jsonLines(path: string, notice: Notice): AsyncGenerator<DataRecord> {
  let number = 0
  for await (const line of linesOf(await textOf(path, notice))) {
    number++
    if (line.trim() !== '') yield { fields: parsedObject(line, path, number), where: `${path}:${number}` }
  }
}

/** An array of objects, or objects one after another; told apart by the first character. Throws BAD_DATA_LINE. */
export async function* jsonObjects(path: string, notice: Notice): AsyncGenerator<DataRecord> {
  for await (const { text, line, object } of jsonItems(await textOf(path, notice), path)) {
    const within = object ? `${path}:${line} (object ${object})` : undefined
    yield { fields: parsedObject(text, path, line, within), where: within ?? `${path}:${line}` }
  }
}

async function textOf(path: string, notice: Notice): Promise<AsyncIterable<string>> {
  if (path === standardInput) return decodedStream('standard input', process.stdin)
  const { chunks, notice: decoding } = await decodedText(path)
  if (decoding) notice(decoding)
  return chunks
}

/** `within`: the place of an object that shares its line, where columns say nothing. */
function parsedObject(text: string, path: string, line: number, within?: string): Record<string, unknown> {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (cause) {
    if (!(cause instanceof JsonFault)) throw cause
    const before = text.slice(0, cause.at).split('\n')
    const place = within ?? `${path}:${line + before.length - 1}:${(before.at(-1) as string).length + 1}`
    throw new GraftError(
      'BAD_DATA_LINE',
      `${place}: not JSON (${cause.message}): ${excerpt(text)}. Each record must be one JSON object${path.endsWith('.json') ? '' : ', on a line of its own'}.`,
      { cause },
    )
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new GraftError(
      'BAD_DATA_LINE',
      `${within ?? `${path}:${line}:1`}: expected a JSON object, got ${excerpt(text)}.`,
    )
  return value as Record<string, unknown>
}
const excerpt = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text)
