import { TemplateFault } from './lexer.js'
import type { TokenStream } from './stream.js'
import { Float } from '../json.js'
import { type Arguments, type Expression, type Filter, noArguments } from './ast.js'
import { type Token } from './lexer.js'

const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
/** Names that stand for values, in Python's spelling and JSON's. */
export const constants: Readonly<Record<string, unknown>> = {
  ...{ true: true, True: true, false: false, False: false, none: null, None: null },
}

/** Expressions by jinja2's grammar, loosest first. */
export class ExpressionParser {
  constructor(private readonly tokens: TokenStream) {}

  /** A chain of filters; in a filter block the first has no bar before it. */
  filters(first: boolean): Filter[] {
    const filters: Filter[] = []
    while (first || this.tokens.take('operator', '|')) {
      first = false
      const { value: name, line } = this.tokens.expect('name')
      filters.push({ name, line, args: this.tokens.isOperator('(') ? this.arguments() : noArguments })
    }
    return filters
  }

  /** One expression, or several with commas between. */
  tuple(choices = true, ends: readonly string[] = []): Expression {
    const parse = () => (choices ? this.expression() : this.either())
    const items: Expression[] = []
    let isTuple = false
    for (;;) {
      if (items.length > 0) {
        if (!this.tokens.take('operator', ',')) break
        isTuple = true
      }
      if (this.tupleEnds(ends)) break
      items.push(parse())
    }
    if (items.length === 0) throw this.tokens.fault('expected an expression')
    return isTuple ? { type: 'tuple', items } : items[0]
  }
  private tupleEnds(ends: readonly string[]): boolean {
    return (
      this.tokens.is('close') ||
      this.tokens.isOperator(')') ||
      (this.tokens.is('name') && ends.includes(this.tokens.now.value))
    )
  }
  expression(): Expression {
    return this.tokens.nested(() => {
      let value = this.either()
      while (this.tokens.take('name', 'if')) {
        const condition = this.either()
        const otherwise = this.tokens.take('name', 'else') ? this.expression() : undefined
        value = { type: 'choice', condition, chosen: value, otherwise }
      }
      return value
    })
  }
  private either(): Expression {
    return this.chain(['or'], 'name', () => this.chain(['and'], 'name', () => this.negation()))
  }
  private chain(names: readonly string[], type: Token['type'], operand: () => Expression): Expression {
    let left = operand()
    while (this.tokens.is(type) && names.includes(this.tokens.now.value)) {
      const { value: operator, line } = this.tokens.expect(type)
      left = { type: 'binary', operator, left, right: operand(), line }
    }
    return left
  }
  private negation(): Expression {
    if (!this.tokens.take('name', 'not')) return this.comparison()
    return { type: 'unary', operator: 'not', operand: this.tokens.nested(() => this.negation()) }
  }
  private comparison(): Expression {
    const { line } = this.tokens.now
    const first = this.sum()
    const rest: [string, Expression][] = []
    for (;;) {
      if (this.tokens.is('operator') && comparisons.has(this.tokens.now.value))
        rest.push([this.tokens.expect('operator').value, this.sum()])
      else if (this.tokens.take('name', 'in')) rest.push(['in', this.sum()])
      else if (this.tokens.is('name', 'not') && this.tokens.next?.value === 'in') {
        this.tokens.advance()
        this.tokens.advance()
        rest.push(['not in', this.sum()])
      } else break
    }
    return rest.length === 0 ? first : { type: 'compare', first, rest, line }
  }
  private sum(): Expression {
    return this.chain(['+', '-'], 'operator', () => this.concatenation())
  }
  private concatenation(): Expression {
    const items = [this.product()]
    while (this.tokens.take('operator', '~')) items.push(this.product())
    return items.length === 1 ? items[0] : { type: 'concat', items }
  }
  private product(): Expression {
    return this.chain(['*', '/', '//', '%'], 'operator', () => this.power())
  }
  private power(): Expression {
    return this.chain(['**'], 'operator', () => this.unary())
  }
  private unary(filtered = true): Expression {
    const operator = this.tokens.isOperator('-') ? '-' : this.tokens.isOperator('+') ? '+' : undefined
    if (operator) this.tokens.advance()
    const inner: Expression = operator
      ? { type: 'unary', operator, operand: this.tokens.nested(() => this.unary(false)) }
      : this.primary()
    const value = this.postfix(inner)
    return filtered ? this.filtered(value) : value
  }
  private primary(): Expression {
    const token = this.tokens.advance()
    if (token.type === 'name')
      return Object.hasOwn(constants, token.value)
        ? { type: 'const', value: constants[token.value] }
        : { type: 'name', name: token.value }
    if (token.type === 'string') {
      let value = token.value
      while (this.tokens.is('string')) value += this.tokens.expect('string').value
      return { type: 'const', value }
    }
    if (token.type === 'integer') return { type: 'const', value: integer(token.value) }
    if (token.type === 'float') return { type: 'const', value: float(token.value) }
    if (token.type === 'operator' && token.value === '(')
      return this.tokens.nested(() => this.parenthesised())
    if (token.type === 'operator' && token.value === '[') return { type: 'list', items: this.items(']') }
    if (token.type === 'operator' && token.value === '{') return this.tokens.nested(() => this.dict())
    throw new TemplateFault(`unexpected ${token.value || `${token.type} of the template`}`, token.line)
  }
  private parenthesised(): Expression {
    if (this.tokens.take('operator', ')')) return { type: 'tuple', items: [] }
    const inner = this.tuple()
    this.tokens.expect('operator', ')')
    return inner
  }
  private items(end: string): Expression[] {
    const items: Expression[] = []
    while (!this.tokens.take('operator', end)) {
      if (items.length > 0) this.tokens.expect('operator', ',')
      if (this.tokens.take('operator', end)) break
      items.push(this.expression())
    }
    return items
  }
  private dict(): Expression {
    const items: [Expression, Expression][] = []
    while (!this.tokens.take('operator', '}')) {
      if (items.length > 0) this.tokens.expect('operator', ',')
      if (this.tokens.take('operator', '}')) break
      const key = this.expression()
      this.tokens.expect('operator', ':')
      items.push([key, this.expression()])
    }
    return { type: 'dict', items }
  }
  private postfix(value: Expression): Expression {
    for (;;) {
      const { line } = this.tokens.now
      if (this.tokens.take('operator', '.')) value = this.dotted(value)
      else if (this.tokens.take('operator', '['))
        value = { type: 'item', object: value, index: this.subscripts() }
      else if (this.tokens.isOperator('('))
        value = { type: 'call', callee: value, args: this.arguments(), line }
      else return value
    }
  }
  private dotted(object: Expression): Expression {
    if (this.tokens.is('integer'))
      return {
        type: 'item',
        object,
        index: { type: 'const', value: integer(this.tokens.expect('integer').value) },
      }
    return { type: 'attribute', object, name: this.tokens.expect('name').value }
  }
  private subscripts(): Expression {
    const items: Expression[] = []
    while (!this.tokens.take('operator', ']')) {
      if (items.length > 0) this.tokens.expect('operator', ',')
      items.push(this.subscript())
    }
    return items.length === 1 ? items[0] : { type: 'tuple', items }
  }
  private subscript(): Expression {
    const ends = () =>
      this.tokens.isOperator(']') || this.tokens.isOperator(',') || this.tokens.isOperator(':')
    const first = this.tokens.isOperator(':') ? undefined : this.expression()
    if (!this.tokens.take('operator', ':')) return first as Expression
    const second = ends() ? undefined : this.expression()
    const third = this.tokens.take('operator', ':') && !ends() ? this.expression() : undefined
    return { type: 'slice', parts: [first, second, third] }
  }
  private filtered(value: Expression): Expression {
    for (;;) {
      const { line } = this.tokens.now
      if (this.tokens.isOperator('|'))
        for (const filter of this.filters(false)) value = { type: 'filter', operand: value, ...filter }
      else if (this.tokens.take('name', 'is')) value = this.test(value)
      else if (this.tokens.isOperator('('))
        value = { type: 'call', callee: value, args: this.arguments(), line }
      else return value
    }
  }
  private test(operand: Expression): Expression {
    const negated = this.tokens.take('name', 'not')
    const { value: name, line } = this.tokens.expect('name')
    const test: Expression = { type: 'test', operand, name, args: this.testArguments(), line }
    return negated ? { type: 'unary', operator: 'not', operand: test } : test
  }
  private testArguments(): Arguments {
    if (this.tokens.isOperator('(')) return this.arguments()
    const begins =
      ['name', 'string', 'integer', 'float'].includes(this.tokens.now.type) ||
      this.tokens.isOperator('[') ||
      this.tokens.isOperator('{')
    const isWord = this.tokens.is('name') && ['else', 'or', 'and'].includes(this.tokens.now.value)
    if (!begins || isWord) return noArguments
    if (this.tokens.is('name', 'is')) throw this.tokens.fault('tests with is do not chain')
    return { positional: [this.postfix(this.primary())], named: [] }
  }
  private arguments(): Arguments {
    const positional: Expression[] = []
    const named: [string, Expression][] = []
    const spreads: { spread?: Expression; namedSpread?: Expression } = {}
    this.tokens.expect('operator', '(')
    for (let first = true; !this.tokens.take('operator', ')'); first = false) {
      if (!first) this.tokens.expect('operator', ',')
      if (this.tokens.take('operator', ')')) break
      const { next } = this.tokens
      if (this.tokens.take('operator', '*')) spreads.spread = this.expression()
      else if (this.tokens.take('operator', '**')) spreads.namedSpread = this.expression()
      else if (this.tokens.is('name') && next?.type === 'operator' && next.value === '=') {
        const { value } = this.tokens.expect('name')
        this.tokens.expect('operator', '=')
        named.push([value, this.expression()])
      } else if (named.length > 0 || spreads.spread)
        throw this.tokens.fault('an argument without a name stands after one with')
      else positional.push(this.expression())
    }
    return { positional, named, ...spreads }
  }
}

function integer(text: string): number | bigint {
  const value = BigInt(text.replaceAll('_', ''))
  return Number.isSafeInteger(Number(value)) ? Number(value) : value
}
function float(text: string): number | Float {
  const value = Number(text.replaceAll('_', ''))
  return Number.isInteger(value) ? new Float(value) : value
}
