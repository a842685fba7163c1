import { TemplateFault, type Token } from './lexer.js'

/** Nested deeper, a template is an attack on the stack. */
const deepest = 200

/** A template's tokens, read one after another. */
export class TokenStream {
  private at = 0
  private depth = 0
  constructor(private readonly tokens: readonly Token[]) {}

  get now(): Token {
    return this.tokens[this.at]
  }
  get next(): Token | undefined {
    return this.tokens[this.at + 1]
  }
  /** The token that is read, and goes on to the one after it. */
  advance(): Token {
    const token = this.now
    if (token.type !== 'end') this.at++
    return token
  }
  is(type: Token['type'], value?: string): boolean {
    return this.now.type === type && (value === undefined || this.now.value === value)
  }
  isOperator(value: string): boolean {
    return this.is('operator', value)
  }
  take(type: Token['type'], value?: string): boolean {
    const fits = this.is(type, value)
    if (fits) this.advance()
    return fits
  }
  expect(type: Token['type'], value?: string): Token {
    const token = this.now
    if (!this.take(type, value))
      throw this.fault(`expected ${value ?? type}, got ${token.value || token.type}`)
    return token
  }
  fault(message: string): TemplateFault {
    return new TemplateFault(message, this.now.line)
  }
  nested<T>(parse: () => T): T {
    if (++this.depth > deepest) throw this.fault(`the template is nested deeper than ${deepest}`)
    const result = parse()
    this.depth--
    return result
  }
}
