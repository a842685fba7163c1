/** A number written with a fraction or an exponent though its value is whole (30.0): a float to Python, so to templates and labels. */
export class Float {
  constructor(readonly value: number) {}
  valueOf(): number {
    return this.value
  }
  toString(): string {
    return floatText(this.value)
  }
  toJSON(): number {
    return this.value
  }
}

/** A float as Python writes it: 30.0, 1e-07, 1e+16. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Object.is(value, -0)) return '-0.0'
  const [digits, exponent] = value.toExponential().split('e')
  const power = Number(exponent)
  if (value !== 0 && (power < -4 || power >= 16))
    return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
  const plain =
    power < 0 ? value.toFixed(Math.max(0, digits.replace(/[-.]/g, '').length - 1 - power)) : String(value)
  return plain.includes('.') ? plain : `${plain}.0`
}

/** What is wrong with a JSON text, and at which character. */
export class JsonFault extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message)
  }
}

/** Nested deeper, a text is an attack on the stack, not data. */
const deepest = 500

/**
 * Parses JSON without losing what JavaScript's own parser loses: whole numbers beyond 2^53 come as bigint, 30.0 as a `Float`, and a key
 * that stands twice in an object is a fault instead of the last one winning. Throws JsonFault.
 */
export function parseJson(text: string): unknown {
  const parser = new Parser(text)
  const value = parser.value(0)
  parser.blanks()
  if (parser.at < text.length) throw parser.fault('there is more after the value')
  return value
}

class Parser {
  at = 0
  constructor(private readonly text: string) {}

  fault(message: string, at = this.at): JsonFault {
    return new JsonFault(at >= this.text.length ? 'it ends too early' : message, at)
  }
  blanks(): void {
    for (; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
    }
  }
  value(depth: number): unknown {
    if (depth > deepest) throw this.fault(`it is nested deeper than ${deepest}`)
    this.blanks()
    const c = this.text[this.at]
    if (c === '{') return this.object(depth)
    if (c === '[') return this.array(depth)
    if (c === '"') return this.string()
    return this.literal()
  }
  private object(depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {}
    this.at++
    this.blanks()
    if (this.take('}')) return result
    for (;;) {
      this.blanks()
      const start = this.at
      if (this.text[start] !== '"') throw this.fault('expected a key in double quotes')
      const key = this.string()
      if (Object.hasOwn(result, key))
        throw this.fault(`key ${JSON.stringify(key)} stands twice in one object`, start)
      this.expect(':')
      const value = this.value(depth + 1)
      // A plain assignment to __proto__ would set the prototype.
      if (key === '__proto__')
        Object.defineProperty(result, key, { value, enumerable: true, writable: true, configurable: true })
      else result[key] = value
      this.blanks()
      if (this.take('}')) return result
      this.expect(',')
    }
  }
  private array(depth: number): unknown[] {
    const result: unknown[] = []
    this.at++
    this.blanks()
    if (this.take(']')) return result
    for (;;) {
      result.push(this.value(depth + 1))
      this.blanks()
      if (this.take(']')) return result
      this.expect(',')
    }
  }
  /** The text between two quotes; JavaScript's parser undoes the escapes. */
  private string(): string {
    const start = this.at
    let escaped = false
    for (this.at++; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at)
      if (c === 34) break
      if (c === 92) {
        escaped = true
        this.at++
      } else if (c < 32) throw this.fault('a line break or control character stands inside a string')
    }
    if (this.at >= this.text.length) throw this.fault('', this.text.length)
    this.at++
    if (!escaped) return this.text.slice(start + 1, this.at - 1)
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string
    } catch {
      throw this.fault('a string holds an escape that JSON does not have', start)
    }
  }
  private literal(): unknown {
    const word = /[-+.\w]*/y
    word.lastIndex = this.at
    const found = word.exec(this.text)?.[0] ?? ''
    const value = literalOf(found)
    if (value === undefined)
      throw this.fault(
        found === '' ? `unexpected ${JSON.stringify(this.text[this.at])}` : `${found} is no JSON value`,
      )
    this.at += found.length
    return value
  }
  private take(c: string): boolean {
    if (this.text[this.at] !== c) return false
    this.at++
    return true
  }
  private expect(c: string): void {
    this.blanks()
    if (!this.take(c)) throw this.fault(`expected ${c}`)
  }
}

function literalOf(word: string): unknown {
  if (word === 'true') return true
  if (word === 'false') return false
  if (word === 'null') return null
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) return undefined
  const value = Number(word)
  if (/[.eE]/.test(word)) return Number.isInteger(value) ? new Float(value) : value
  return Number.isSafeInteger(value) ? value : BigInt(word)
}

/** JSON of what `parseJson` gave (and of plain values), numbers as they were. */
export function jsonText(value: unknown): string {
  if (typeof value === 'bigint' || value instanceof Float) return String(value)
  if (Array.isArray(value)) return `[${value.map((v) => jsonText(v ?? null)).join(',')}]`
  if (value && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    return `{${Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .map(([k, v]) => `${JSON.stringify(k)}:${jsonText(v)}`)
      .join(',')}}`
  return JSON.stringify(value) ?? 'null'
}
