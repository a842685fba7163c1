import { floatText } from '../json.js'
import { TemplateFault } from './lexer.js'
import { isInteger, isNumber, limits, order, spend, typeOf } from './values.js'

export interface DumpOptions {
  ensureAscii: boolean
  /** what one level is indented by; null: all on one line */
  indent: string | null
  separators: readonly [item: string, key: string]
  sortKeys: boolean
}

/** Python's json.dumps, which is what transformers' tojson is. */
export function dumps(value: unknown, options: DumpOptions, depth = 0): string {
  spend()
  if (depth > limits.depth) throw new TemplateFault('tojson of what is nested too deep')
  if (value === null) return 'null'
  if (typeof value === 'string') return quoted(value, options.ensureAscii)
  if (typeof value === 'boolean') return String(value)
  if (isInteger(value)) return String(value)
  if (isNumber(value)) return number(Number(value))
  if (Array.isArray(value)) {
    const items = value.map((v) => dumps(v, options, depth + 1))
    return wrapped('[', ']', items, options, depth)
  }
  if (value instanceof Map) {
    const entries = options.sortKeys ? [...value].sort(([a], [b]) => order(a, b)) : [...value]
    const items = entries.map(
      ([k, v]) => `${key(k, options)}${options.separators[1]}${dumps(v, options, depth + 1)}`,
    )
    return wrapped('{', '}', items, options, depth)
  }
  throw new TemplateFault(`Object of type ${typeOf(value)} is not JSON serializable`)
}

function wrapped(
  open: string,
  close: string,
  items: readonly string[],
  { indent, separators }: DumpOptions,
  depth: number,
): string {
  if (items.length === 0) return open + close
  if (indent === null) return open + items.join(separators[0]) + close
  const [outer, inner] = [depth, depth + 1].map((n) => `\n${indent.repeat(n)}`)
  return `${open}${inner}${items.join(`${separators[0]}${inner}`)}${outer}${close}`
}

function key(value: unknown, { ensureAscii }: DumpOptions): string {
  if (typeof value === 'string') return quoted(value, ensureAscii)
  if (value === null) return '"null"'
  if (isNumber(value)) return `"${isInteger(value) ? value : number(Number(value))}"`
  throw new TemplateFault(`keys must be str, int, float, bool or None, not ${typeOf(value)}`)
}
const number = (value: number): string =>
  Number.isNaN(value)
    ? 'NaN'
    : Number.isFinite(value)
      ? floatText(value)
      : value > 0
        ? 'Infinity'
        : '-Infinity'

const short: Readonly<Record<string, string>> = {
  ...{ '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\f': '\\f', '\b': '\\b' },
}
function quoted(value: string, ascii: boolean): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
  const special = ascii ? /["\\]|[^ -~]/g : /["\\\x00-\x1f]/g
  return `"${value.replace(special, (c) => short[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`
}
