import { Float, floatText } from '../json.js'
import { TemplateFault } from './lexer.js'

// Python's values are JavaScript's where these do: str, bool, None = null, int = a whole number or bigint, float = another number or
// Float, list = Array, dict = Map, functions = functions of positional and named arguments.

/** A name or a field that isn't there: prints as nothing, and any use but a look is a fault, as jinja2's Undefined. */
export class Undefined {
  constructor(readonly name: string) {}
  fault(): TemplateFault {
    return new TemplateFault(`${this.name} is undefined`)
  }
}
export class Tuple extends Array<unknown> {
  static override get [Symbol.species]() {
    return Array
  }
}
/** What filters such as map and select give: it is true whatever it holds, has no length, and is run through once. */
export class Lazy {
  private taken = false
  constructor(private readonly items: readonly unknown[]) {}
  take(): readonly unknown[] {
    if (this.taken) return []
    this.taken = true
    return this.items
  }
}
export class Namespace {
  constructor(readonly fields: Map<string, unknown>) {}
}
export type Named = ReadonlyMap<string, unknown>
export type Callable = (args: readonly unknown[], named: Named) => unknown

/** A text, list or number of steps beyond these is taken for a template that loops. */
export const limits = { length: 2 ** 23, items: 100_000, steps: 5_000_000, depth: 100 }

/** Steps that the run in hand may still make. Runs never overlap, so one counter serves whatever has to count. */
let left = 0
export const refill = (): void => {
  left = limits.steps
}
export function spend(steps = 1): void {
  left -= steps
  if (left < 0) throw new TemplateFault(`more than ${limits.steps} steps; the template loops`)
}

/** JSON as a template sees it. */
export function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value === 'number' && Object.is(value, -0)) return 0
  if (value === undefined) return null
  if (value && typeof value === 'object' && !(value instanceof Float))
    return new Map(Object.entries(value).map(([k, v]) => [k, fromJson(v)]))
  return value
}

export const isInteger = (v: unknown): v is number | bigint | boolean =>
  typeof v === 'bigint' || typeof v === 'boolean' || Number.isInteger(v)
export const isNumber = (v: unknown): v is number | bigint | boolean | Float =>
  typeof v === 'number' || v instanceof Float || isInteger(v)
export const toNumber = (v: unknown): number => Number(v)
/** A float result, told from an int where it is whole. */
export const float = (v: number): number | Float => (Number.isInteger(v) ? new Float(v) : v)
/** An int result, small where it fits. */
export const int = (v: number | bigint): number | bigint =>
  Number.isSafeInteger(Number(v)) ? Number(v) : BigInt(v)

/** Python's name of a value's type. */
export function typeOf(v: unknown): string {
  if (v === null) return 'NoneType'
  if (typeof v === 'string') return 'str'
  if (typeof v === 'boolean') return 'bool'
  if (isInteger(v)) return 'int'
  if (isNumber(v)) return 'float'
  if (v instanceof Tuple) return 'tuple'
  if (Array.isArray(v)) return 'list'
  if (v instanceof Map) return 'dict'
  if (v instanceof Undefined) return 'Undefined'
  if (v instanceof Lazy) return 'generator'
  return v instanceof Namespace ? 'Namespace' : 'function'
}

export function truth(v: unknown): boolean {
  if (v === null || v === undefined || v instanceof Undefined) return false
  if (Array.isArray(v)) return v.length > 0
  if (v instanceof Map) return v.size > 0
  if (isNumber(v)) return Number(v) !== 0
  return typeof v === 'string' ? v !== '' : true
}

/** The characters of a text, as Python counts them: by code points. */
export const characters = (text: string): string[] =>
  /[\ud800-\udfff]/.test(text) ? [...text] : text.split('')
export const lengthOf = (text: string): number =>
  /[\ud800-\udfff]/.test(text) ? characters(text).length : text.length

export function iterate(v: unknown): readonly unknown[] {
  if (Array.isArray(v)) return v
  if (v instanceof Map) return [...v.keys()]
  if (v instanceof Lazy) return v.take()
  if (typeof v === 'string') return characters(v)
  if (v instanceof Undefined) return []
  throw new TemplateFault(`'${typeOf(v)}' object is not iterable`)
}
export function size(v: unknown): number {
  if (typeof v === 'string') return lengthOf(v)
  if (Array.isArray(v)) return v.length
  if (v instanceof Map) return v.size
  if (v instanceof Undefined) return 0
  throw new TemplateFault(`object of type '${typeOf(v)}' has no len()`)
}

/** Key of a dict: Python's 1, 1.0 and True are one. */
export function keyOf(v: unknown): unknown {
  if (Array.isArray(v) || v instanceof Map) throw new TemplateFault(`unhashable type: '${typeOf(v)}'`)
  return isNumber(v) && typeof v !== 'bigint' ? Number(v) : v
}

export function equal(a: unknown, b: unknown): boolean {
  spend()
  if (a instanceof Undefined) return b instanceof Undefined
  if (isNumber(a) && isNumber(b))
    // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of one value are equal
    return numeric(a) == numeric(b)
  if (Array.isArray(a) && Array.isArray(b))
    return (
      a instanceof Tuple === b instanceof Tuple && a.length === b.length && a.every((x, i) => equal(x, b[i]))
    )
  if (a instanceof Map && b instanceof Map)
    return a.size === b.size && [...a].every(([k, v]) => b.has(k) && equal(v, b.get(k)))
  return a === b
}
const numeric = (v: number | bigint | boolean | Float): number | bigint =>
  typeof v === 'bigint' ? v : Number(v)

/** Below zero where a comes first. Throws TemplateFault for what Python doesn't order. */
export function order(a: unknown, b: unknown): number {
  spend()
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [numeric(a), numeric(b)]
    return x < y ? -1 : x > y ? 1 : 0
  }
  if (typeof a === 'string' && typeof b === 'string') return textOrder(a, b)
  if (Array.isArray(a) && Array.isArray(b) && typeOf(a) === typeOf(b)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) if (!equal(a[i], b[i])) return order(a[i], b[i])
    return a.length - b.length
  }
  const absent = [a, b].find((v) => v instanceof Undefined)
  if (absent) throw (absent as Undefined).fault()
  throw new TemplateFault(`'<' not supported between instances of '${typeOf(a)}' and '${typeOf(b)}'`)
}
/** By code points, which differs from JavaScript's order beyond U+FFFF. */
function textOrder(a: string, b: string): number {
  const [x, y] = [characters(a), characters(b)]
  for (let i = 0; i < Math.min(x.length, y.length); i++)
    if (x[i] !== y[i]) return (x[i].codePointAt(0) as number) - (y[i].codePointAt(0) as number)
  return x.length - y.length
}

/** What printing a value gives: Python's str(). */
export function text(v: unknown): string {
  if (typeof v === 'string') return v
  return v instanceof Undefined ? '' : repr(v)
}
/** Python's repr(). */
export function repr(v: unknown): string {
  spend()
  if (typeof v === 'string') return quoted(v)
  if (v === null) return 'None'
  if (typeof v === 'boolean') return v ? 'True' : 'False'
  if (typeof v === 'bigint' || Number.isInteger(v)) return String(v)
  if (isNumber(v)) return floatText(Number(v))
  if (v instanceof Tuple) return v.length === 1 ? `(${repr(v[0])},)` : `(${v.map(repr).join(', ')})`
  if (Array.isArray(v)) return `[${v.map(repr).join(', ')}]`
  if (v instanceof Map) return `{${[...v].map(([k, x]) => `${repr(k)}: ${repr(x)}`).join(', ')}}`
  if (v instanceof Undefined) return 'Undefined'
  throw new TemplateFault(`a ${typeOf(v)} is printed, which gives another text in each run`)
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }
function quoted(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'"
  const inner = value.replace(/[\\'"\p{C}\p{Z}]/gu, (c) => {
    if (c === ' ' || ((c === "'" || c === '"') && c !== quote)) return c
    if (c === quote) return `\\${c}`
    if (escapes[c]) return escapes[c]
    const code = c.codePointAt(0) as number
    const hex = (width: number) => code.toString(16).padStart(width, '0')
    return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`
  })
  return quote + inner + quote
}
