import { Float } from '../json.js'
import {
  type Arguments,
  type Expression,
  type Filter,
  type Macro,
  noArguments,
  type Parameter,
  type Statement,
} from './ast.js'
import { TemplateFault, type Token, tokenize } from './lexer.js'

/** A template's statements, by jinja2's grammar (jinja2/parser.py). Throws TemplateFault. */
export function parseTemplate(source: string): readonly Statement[] {
  return new Parser(tokenize(source)).template()
}

/** Nested deeper, a template is an attack on the stack. */
const deepest = 200
const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
const constants: Readonly<Record<string, unknown>> = {
  ...{ true: true, True: true, false: false, False: false, none: null, None: null },
}

class Parser {
  private at = 0
  private depth = 0
  private loops = 0
  constructor(private readonly tokens: readonly Token[]) {}

  template(): Statement[] {
    const body = this.statements([])
    if (this.now.type !== 'end') throw this.fault(`unexpected {% ${this.now.value} %}`)
    return body
  }

  // The stream of tokens.
  private get now(): Token {
    return this.tokens[this.at]
  }
  private is(type: Token['type'], value?: string): boolean {
    return this.now.type === type && (value === undefined || this.now.value === value)
  }
  private isOperator(value: string): boolean {
    return this.is('operator', value)
  }
  private take(type: Token['type'], value?: string): boolean {
    const fits = this.is(type, value)
    if (fits) this.at++
    return fits
  }
  private expect(type: Token['type'], value?: string): Token {
    const token = this.now
    if (!this.take(type, value))
      throw this.fault(`expected ${value ?? type}, got ${token.value || token.type}`)
    return token
  }
  private fault(message: string): TemplateFault {
    return new TemplateFault(message, this.now.line)
  }
  private nested<T>(parse: () => T): T {
    if (++this.depth > deepest) throw this.fault(`the template is nested deeper than ${deepest}`)
    const result = parse()
    this.depth--
    return result
  }

  /** Statements up to one of these tags, which is left to be read, or to the end. */
  private statements(ends: readonly string[]): Statement[] {
    return this.nested(() => {
      const body: Statement[] = []
      for (;;) {
        if (this.is('end')) {
          if (ends.length > 0) throw this.fault(`expected {% ${ends.join(' %} or {% ')} %} before the end`)
          return body
        }
        if (this.is('data')) body.push({ type: 'text', text: this.expect('data').value })
        else if (this.take('open', '{{')) {
          body.push({ type: 'print', value: this.tuple() })
          this.expect('close', '{{')
        } else {
          this.expect('open', '{%')
          if (this.is('name') && ends.includes(this.now.value)) return body
          const { line } = this.now
          body.push(...this.statement(this.expect('name').value, line))
          this.expect('close', '{%')
        }
      }
    })
  }
  /** The body of a tag that ends with {% end… %}; the rest of that tag is left to be closed. */
  private body(...ends: string[]): Statement[] {
    this.expect('close', '{%')
    return this.statements(ends)
  }
  private bodyTo(end: string): Statement[] {
    const body = this.body(end)
    this.expect('name', end)
    return body
  }

  private statement(tag: string, line: number): Statement[] {
    switch (tag) {
      case 'if':
        return [this.branches()]
      case 'for':
        return [this.loop(line)]
      case 'set':
        return [this.assignment(line)]
      case 'macro':
        return [this.macro(this.expect('name').value, 'endmacro', line)]
      case 'call':
        return [this.callBlock(line)]
      case 'filter': {
        const filters = this.filters(true)
        return [{ type: 'filter block', filters, body: this.bodyTo('endfilter') }]
      }
      case 'with':
        return [this.withBlock(line)]
      case 'generation':
        return [{ type: 'generation', body: this.bodyTo('endgeneration') }]
      case 'print':
        return [{ type: 'print', value: this.tuple() }]
      case 'break':
      case 'continue':
        if (this.loops === 0) throw this.fault(`{% ${tag} %} outside a loop`)
        return [{ type: tag }]
      default:
        throw this.fault(`tag ${tag} is none that chat templates have`)
    }
  }
  private branches(): Statement {
    const branches: [Expression, Statement[]][] = []
    const condition = () => this.tuple(false)
    branches.push([condition(), this.body('elif', 'else', 'endif')])
    while (this.take('name', 'elif')) branches.push([condition(), this.body('elif', 'else', 'endif')])
    const otherwise = this.take('name', 'else') ? this.body('endif') : []
    this.expect('name', 'endif')
    return { type: 'if', branches, otherwise }
  }
  private loop(line: number): Statement {
    const target = this.target()
    this.expect('name', 'in')
    const iterable = this.tuple(false, ['recursive'])
    const condition = this.take('name', 'if') ? this.expression() : undefined
    const recursive = this.take('name', 'recursive')
    this.loops++
    const body = this.body('endfor', 'else')
    this.loops--
    const otherwise = this.take('name', 'else') ? this.body('endfor') : []
    this.expect('name', 'endfor')
    return { type: 'for', target, iterable, condition, body, otherwise, recursive, line }
  }
  /** Names to assign to: one, several, or an attribute of a namespace. */
  private target(attributes = false): Expression {
    const items = [this.targetItem(attributes)]
    let isTuple = false
    while (this.take('operator', ',')) {
      isTuple = true
      if (!this.is('name') && !this.isOperator('(')) break
      items.push(this.targetItem(attributes))
    }
    return isTuple ? { type: 'tuple', items } : items[0]
  }
  private targetItem(attributes: boolean): Expression {
    if (this.take('operator', '(')) {
      const inner = this.target()
      this.expect('operator', ')')
      return inner
    }
    const { value } = this.expect('name')
    if (value in constants) throw this.fault(`${value} can't be assigned to`)
    const name: Expression = { type: 'name', name: value }
    if (!attributes || !this.take('operator', '.')) return name
    return { type: 'attribute', object: name, name: this.expect('name').value }
  }
  private assignment(line: number): Statement {
    const target = this.target(true)
    if (this.take('operator', '=')) return { type: 'set', target, value: this.tuple(), line }
    const filters = this.filters(false)
    return { type: 'capture', target, filters, body: this.bodyTo('endset'), line }
  }
  private macro(name: string, end: string, line: number): Macro {
    const parameters = this.isOperator('(') ? this.parameters() : []
    // A loop that a macro stands in is not the loop that a break in it would end.
    const outer = this.loops
    this.loops = 0
    const body = this.bodyTo(end)
    this.loops = outer
    return { type: 'macro', name, parameters, body, line }
  }
  private parameters(): Parameter[] {
    const parameters: Parameter[] = []
    this.expect('operator', '(')
    while (!this.take('operator', ')')) {
      if (parameters.length > 0) this.expect('operator', ',')
      const { value: name } = this.expect('name')
      parameters.push(this.take('operator', '=') ? { name, otherwise: this.expression() } : { name })
    }
    return parameters
  }
  private callBlock(line: number): Statement {
    const parameters = this.isOperator('(') ? this.parameters() : []
    const call = this.expression()
    if (call.type !== 'call') throw this.fault('{% call %} needs a call')
    const caller = this.macro('caller', 'endcall', line)
    return { type: 'call block', call, caller: { ...caller, parameters } }
  }
  private withBlock(line: number): Statement {
    const values: [Expression, Expression][] = []
    while (!this.is('close')) {
      if (values.length > 0) this.expect('operator', ',')
      const target = this.targetItem(false)
      this.expect('operator', '=')
      values.push([target, this.expression()])
    }
    return { type: 'with', values, body: this.bodyTo('endwith'), line }
  }
  /** A chain of filters; in a filter block the first has no bar before it. */
  private filters(first: boolean): Filter[] {
    const filters: Filter[] = []
    while (first || this.take('operator', '|')) {
      first = false
      const { value: name, line } = this.expect('name')
      filters.push({ name, line, args: this.isOperator('(') ? this.arguments() : noArguments })
    }
    return filters
  }

  // Expressions, loosest first.
  /** One expression, or several with commas between. */
  private tuple(choices = true, ends: readonly string[] = []): Expression {
    const parse = () => (choices ? this.expression() : this.either())
    const items: Expression[] = []
    let isTuple = false
    for (;;) {
      if (items.length > 0) {
        if (!this.take('operator', ',')) break
        isTuple = true
      }
      if (this.tupleEnds(ends)) break
      items.push(parse())
    }
    if (items.length === 0) throw this.fault('expected an expression')
    return isTuple ? { type: 'tuple', items } : items[0]
  }
  private tupleEnds(ends: readonly string[]): boolean {
    return this.is('close') || this.isOperator(')') || (this.is('name') && ends.includes(this.now.value))
  }
  private expression(): Expression {
    return this.nested(() => {
      let value = this.either()
      while (this.take('name', 'if')) {
        const condition = this.either()
        const otherwise = this.take('name', 'else') ? this.expression() : undefined
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
    while (this.is(type) && names.includes(this.now.value)) {
      const { value: operator, line } = this.expect(type)
      left = { type: 'binary', operator, left, right: operand(), line }
    }
    return left
  }
  private negation(): Expression {
    if (!this.take('name', 'not')) return this.comparison()
    return { type: 'unary', operator: 'not', operand: this.nested(() => this.negation()) }
  }
  private comparison(): Expression {
    const { line } = this.now
    const first = this.sum()
    const rest: [string, Expression][] = []
    for (;;) {
      if (this.is('operator') && comparisons.has(this.now.value))
        rest.push([this.expect('operator').value, this.sum()])
      else if (this.take('name', 'in')) rest.push(['in', this.sum()])
      else if (this.is('name', 'not') && this.tokens[this.at + 1].value === 'in') {
        this.at += 2
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
    while (this.take('operator', '~')) items.push(this.product())
    return items.length === 1 ? items[0] : { type: 'concat', items }
  }
  private product(): Expression {
    return this.chain(['*', '/', '//', '%'], 'operator', () => this.power())
  }
  private power(): Expression {
    return this.chain(['**'], 'operator', () => this.unary())
  }
  private unary(filtered = true): Expression {
    const operator = this.isOperator('-') ? '-' : this.isOperator('+') ? '+' : undefined
    if (operator) this.at++
    const inner: Expression = operator
      ? { type: 'unary', operator, operand: this.nested(() => this.unary(false)) }
      : this.primary()
    const value = this.postfix(inner)
    return filtered ? this.filtered(value) : value
  }
  private primary(): Expression {
    const token = this.now
    this.at++
    if (token.type === 'name')
      return Object.hasOwn(constants, token.value)
        ? { type: 'const', value: constants[token.value] }
        : { type: 'name', name: token.value }
    if (token.type === 'string') {
      let value = token.value
      while (this.is('string')) value += this.expect('string').value
      return { type: 'const', value }
    }
    if (token.type === 'integer') return { type: 'const', value: integer(token.value) }
    if (token.type === 'float') return { type: 'const', value: float(token.value) }
    if (token.type === 'operator' && token.value === '(') return this.nested(() => this.parenthesised())
    if (token.type === 'operator' && token.value === '[') return { type: 'list', items: this.items(']') }
    if (token.type === 'operator' && token.value === '{') return this.nested(() => this.dict())
    this.at--
    throw this.fault(`unexpected ${token.value || `${token.type} of the template`}`)
  }
  private parenthesised(): Expression {
    if (this.take('operator', ')')) return { type: 'tuple', items: [] }
    const inner = this.tuple()
    this.expect('operator', ')')
    return inner
  }
  private items(end: string): Expression[] {
    const items: Expression[] = []
    while (!this.take('operator', end)) {
      if (items.length > 0) this.expect('operator', ',')
      if (this.take('operator', end)) break
      items.push(this.expression())
    }
    return items
  }
  private dict(): Expression {
    const items: [Expression, Expression][] = []
    while (!this.take('operator', '}')) {
      if (items.length > 0) this.expect('operator', ',')
      if (this.take('operator', '}')) break
      const key = this.expression()
      this.expect('operator', ':')
      items.push([key, this.expression()])
    }
    return { type: 'dict', items }
  }
  private postfix(value: Expression): Expression {
    for (;;) {
      const { line } = this.now
      if (this.take('operator', '.')) value = this.dotted(value)
      else if (this.take('operator', '[')) value = { type: 'item', object: value, index: this.subscripts() }
      else if (this.isOperator('(')) value = { type: 'call', callee: value, args: this.arguments(), line }
      else return value
    }
  }
  private dotted(object: Expression): Expression {
    if (this.is('integer'))
      return { type: 'item', object, index: { type: 'const', value: integer(this.expect('integer').value) } }
    return { type: 'attribute', object, name: this.expect('name').value }
  }
  private subscripts(): Expression {
    const items: Expression[] = []
    while (!this.take('operator', ']')) {
      if (items.length > 0) this.expect('operator', ',')
      items.push(this.subscript())
    }
    return items.length === 1 ? items[0] : { type: 'tuple', items }
  }
  private subscript(): Expression {
    const ends = () => this.isOperator(']') || this.isOperator(',') || this.isOperator(':')
    const first = this.isOperator(':') ? undefined : this.expression()
    if (!this.take('operator', ':')) return first as Expression
    const second = ends() ? undefined : this.expression()
    const third = this.take('operator', ':') && !ends() ? this.expression() : undefined
    return { type: 'slice', parts: [first, second, third] }
  }
  private filtered(value: Expression): Expression {
    for (;;) {
      const { line } = this.now
      if (this.isOperator('|'))
        for (const filter of this.filters(false)) value = { type: 'filter', operand: value, ...filter }
      else if (this.take('name', 'is')) value = this.test(value)
      else if (this.isOperator('(')) value = { type: 'call', callee: value, args: this.arguments(), line }
      else return value
    }
  }
  private test(operand: Expression): Expression {
    const negated = this.take('name', 'not')
    const { value: name, line } = this.expect('name')
    const test: Expression = { type: 'test', operand, name, args: this.testArguments(), line }
    return negated ? { type: 'unary', operator: 'not', operand: test } : test
  }
  private testArguments(): Arguments {
    if (this.isOperator('(')) return this.arguments()
    const begins =
      ['name', 'string', 'integer', 'float'].includes(this.now.type) ||
      this.isOperator('[') ||
      this.isOperator('{')
    const isWord = this.is('name') && ['else', 'or', 'and'].includes(this.now.value)
    if (!begins || isWord) return noArguments
    if (this.is('name', 'is')) throw this.fault('tests with is do not chain')
    return { positional: [this.postfix(this.primary())], named: [] }
  }
  private arguments(): Arguments {
    const positional: Expression[] = []
    const named: [string, Expression][] = []
    const spreads: { spread?: Expression; namedSpread?: Expression } = {}
    this.expect('operator', '(')
    for (let first = true; !this.take('operator', ')'); first = false) {
      if (!first) this.expect('operator', ',')
      if (this.take('operator', ')')) break
      const next = this.tokens[this.at + 1]
      if (this.take('operator', '*')) spreads.spread = this.expression()
      else if (this.take('operator', '**')) spreads.namedSpread = this.expression()
      else if (this.is('name') && next.type === 'operator' && next.value === '=') {
        const { value } = this.expect('name')
        this.at++
        named.push([value, this.expression()])
      } else if (named.length > 0 || spreads.spread)
        throw this.fault('an argument without a name stands after one with')
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
