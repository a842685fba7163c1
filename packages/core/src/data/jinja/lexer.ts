/** What a template is made of, as jinja2's lexer cuts it (jinja2/lexer.py, with trim_blocks and lstrip_blocks on). */
export interface Token {
  type: 'data' | 'open' | 'close' | 'name' | 'string' | 'integer' | 'float' | 'operator' | 'end'
  value: string
  /** of a tag's opening and closing: {{ or {% */
  line: number
}

/** A template that can't be read, or can't be run as transformers would run it. */
export class TemplateFault extends Error {
  constructor(
    message: string,
    readonly line?: number,
  ) {
    super(line === undefined ? message : `line ${line}: ${message}`)
  }
}

const blank =
  '[ \\t\\n\\r\\f\\v\\x1c-\\x1f\\x85\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
/** Python's idea of a blank, which differs from JavaScript's: no U+FEFF, but U+001C … U+001F and U+0085. */
export const onlyBlank = new RegExp(`^${blank}$`)
const trailingBlanks = new RegExp(`${blank}+$`)
const onlyBlanks = new RegExp(`^${blank}+$`)

const operators = [
  ...['//', '**', '==', '!=', '>=', '<='],
  ...['+', '-', '/', '*', '%', '~', '[', ']', '(', ')', '{', '}', '>', '<', '=', '.', ':', '|', ',', ';'],
]
const closers: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' }
const patterns = {
  blanks: new RegExp(`${blank}+`, 'y'),
  float: /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[-+]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy,
  integer: /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy,
  name: /[\p{L}\p{N}\p{M}_]+/uy,
  string: /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/y,
}

export function tokenize(template: string): Token[] {
  return new Lexer(template).run()
}

class Lexer {
  private readonly source: string
  private readonly tokens: Token[] = []
  private at = 0
  private line = 1
  /** whether what was read last ended a line, so that blanks before a tag stand at its beginning */
  private lineStarts = true

  constructor(template: string) {
    this.source = template.replace(/\r\n|\r/g, '\n').replace(/\n$/, '')
  }

  run(): Token[] {
    while (this.at < this.source.length) this.text()
    this.push('end', '')
    return this.tokens
  }

  private push(type: Token['type'], value: string): void {
    this.tokens.push({ type, value, line: this.line })
  }
  private advance(count: number): string {
    const taken = this.source.slice(this.at, this.at + count)
    this.line += taken.split('\n').length - 1
    this.at += count
    return taken
  }
  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at
    return pattern.exec(this.source)?.[0]
  }

  /** Text up to the next tag, and the tag. */
  private text(): void {
    const rest = this.source.slice(this.at)
    const found = /\{\{|\{%|\{#/.exec(rest)
    if (!found) {
      this.push('data', rest)
      this.advance(rest.length)
      return
    }
    const raw = /^\{%[-+]?\s*raw\s*(-?)%\}/.exec(rest.slice(found.index))
    const opening = raw?.[0] ?? found[0]
    const sign = rest[found.index + 2]
    const signed = (sign === '-' || sign === '+') && !raw ? 1 : 0
    const text = this.stripped(rest.slice(0, found.index), sign, found[0] === '{{')
    if (text !== '') this.push('data', text)
    this.advance(found.index + opening.length + signed)
    this.lineStarts = false
    if (raw) this.raw(raw[1] === '-')
    else if (opening === '{#') this.comment()
    else this.tag(opening)
  }
  private stripped(text: string, sign: string, isExpression: boolean): string {
    if (sign === '-') return text.replace(trailingBlanks, '')
    if (sign === '+' || isExpression) return text
    const start = text.lastIndexOf('\n') + 1
    return (start > 0 || this.lineStarts) && onlyBlanks.test(text.slice(start)) ? text.slice(0, start) : text
  }
  /** What follows a tag's end: with a minus all blanks go, else trim_blocks takes a line end. */
  private after(minus: boolean, trims: boolean): void {
    const skipped = minus
      ? (this.match(patterns.blanks) ?? '')
      : trims && this.source[this.at] === '\n'
        ? '\n'
        : ''
    this.advance(skipped.length)
    if (skipped !== '') this.lineStarts = skipped.endsWith('\n')
  }

  private comment(): void {
    const end = this.source.indexOf('#}', this.at)
    if (end < 0) throw new TemplateFault('a comment {# has no end', this.line)
    const sign = end > this.at ? this.source[end - 1] : ''
    this.advance(end + 2 - this.at)
    this.after(sign === '-', sign !== '+')
  }
  private raw(minus: boolean): void {
    this.after(minus, false)
    const end = /\{%([-+]?)\s*endraw\s*([-+]?)%\}/g
    end.lastIndex = this.at
    const found = end.exec(this.source)
    if (!found) throw new TemplateFault('{% raw %} has no {% endraw %}', this.line)
    const text = this.source.slice(this.at, found.index)
    this.push('data', this.stripped(text, found[1], false))
    this.advance(found.index + found[0].length - this.at)
    this.lineStarts = false
    this.after(found[2] === '-', found[2] !== '+')
  }

  /** What stands in {{ }} or {% %}. */
  private tag(opening: string): void {
    this.push('open', opening)
    const closing = opening === '{{' ? '}}' : '%}'
    const open: string[] = []
    for (;;) {
      this.advance((this.match(patterns.blanks) ?? '').length)
      if (this.at >= this.source.length) throw new TemplateFault(`${opening} has no ${closing}`, this.line)
      if (open.length === 0 && this.closes(opening, closing)) return
      if (!this.word()) this.operator(open)
    }
  }
  private closes(opening: string, closing: string): boolean {
    const sign = /^[-+]/.exec(this.source.slice(this.at))?.[0] ?? ''
    if (sign === '+' && opening === '{{') return false
    if (!this.source.startsWith(closing, this.at + sign.length)) return false
    this.push('close', opening)
    this.advance(sign.length + 2)
    this.after(sign === '-', opening === '{%' && sign === '')
    return true
  }
  private word(): boolean {
    const before = this.source[this.at - 1]
    for (const type of ['float', 'integer', 'name', 'string'] as const) {
      const found = this.match(patterns[type])
      if (found === undefined || (type === 'float' && before === '.')) continue
      this.push(type, type === 'string' ? unescaped(found.slice(1, -1)) : found)
      this.advance(found.length)
      return true
    }
    return false
  }
  private operator(open: string[]): void {
    const found = operators.find((o) => this.source.startsWith(o, this.at))
    if (!found) throw new TemplateFault(`unexpected ${JSON.stringify(this.source[this.at])}`, this.line)
    if (found in closers) open.push(closers[found])
    else if (')]}'.includes(found) && open.pop() !== found)
      throw new TemplateFault(`unexpected ${found}`, this.line)
    this.push('operator', found)
    this.advance(found.length)
  }
}

const escapes: Readonly<Record<string, string>> = {
  ...{ n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' },
  ...{ '\\': '\\', "'": "'", '"': '"', '\n': '' },
}
/** A string literal's text, by Python's escapes; one that Python doesn't know stays as it is. */
const unescaped = (text: string): string =>
  text.replace(
    /\\(?:x([\da-f]{2})|u([\da-f]{4})|U([\da-f]{8})|([0-7]{1,3})|([\s\S]))/gi,
    (whole, x, u, long, octal, other) => {
      if (octal) return String.fromCodePoint(Number.parseInt(octal, 8))
      if (x ?? u ?? long) return String.fromCodePoint(Number.parseInt(x ?? u ?? long, 16))
      return escapes[other as string] ?? whole
    },
  )
