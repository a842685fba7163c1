import { type Expression, type Macro, type Parameter, type Statement } from './ast.js'
import { tokenize } from './lexer.js'
import { constants, ExpressionParser } from './expressions.js'
import { TokenStream } from './stream.js'

/** A template's statements, by jinja2's grammar (jinja2/parser.py). Throws TemplateFault. */
export function parseTemplate(source: string): readonly Statement[] {
  return new Parser(new TokenStream(tokenize(source))).template()
}

class Parser {
  private loops = 0
  private readonly expressions: ExpressionParser
  constructor(private readonly tokens: TokenStream) {
    this.expressions = new ExpressionParser(tokens)
  }

  template(): Statement[] {
    const body = this.statements([])
    if (this.tokens.now.type !== 'end') throw this.tokens.fault(`unexpected {% ${this.tokens.now.value} %}`)
    return body
  }

  /** Statements up to one of these tags, which is left to be read, or to the end. */
  private statements(ends: readonly string[]): Statement[] {
    return this.tokens.nested(() => {
      const body: Statement[] = []
      for (;;) {
        if (this.tokens.is('end')) {
          if (ends.length > 0)
            throw this.tokens.fault(`expected {% ${ends.join(' %} or {% ')} %} before the end`)
          return body
        }
        if (this.tokens.is('data')) body.push({ type: 'text', text: this.tokens.expect('data').value })
        else if (this.tokens.take('open', '{{')) {
          body.push({ type: 'print', value: this.expressions.tuple() })
          this.tokens.expect('close', '{{')
        } else {
          this.tokens.expect('open', '{%')
          if (this.tokens.is('name') && ends.includes(this.tokens.now.value)) return body
          const { line } = this.tokens.now
          body.push(...this.statement(this.tokens.expect('name').value, line))
          this.tokens.expect('close', '{%')
        }
      }
    })
  }
  /** The body of a tag that ends with {% end… %}; the rest of that tag is left to be closed. */
  private body(...ends: string[]): Statement[] {
    this.tokens.expect('close', '{%')
    return this.statements(ends)
  }
  private bodyTo(end: string): Statement[] {
    const body = this.body(end)
    this.tokens.expect('name', end)
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
        return [this.macro(this.tokens.expect('name').value, 'endmacro', line)]
      case 'call':
        return [this.callBlock(line)]
      case 'filter': {
        const filters = this.expressions.filters(true)
        return [{ type: 'filter block', filters, body: this.bodyTo('endfilter') }]
      }
      case 'with':
        return [this.withBlock(line)]
      case 'generation':
        return [{ type: 'generation', body: this.bodyTo('endgeneration') }]
      case 'print':
        return [{ type: 'print', value: this.expressions.tuple() }]
      case 'break':
      case 'continue':
        if (this.loops === 0) throw this.tokens.fault(`{% ${tag} %} outside a loop`)
        return [{ type: tag }]
      default:
        throw this.tokens.fault(`tag ${tag} is none that chat templates have`)
    }
  }
  private branches(): Statement {
    const branches: [Expression, Statement[]][] = []
    const condition = () => this.expressions.tuple(false)
    branches.push([condition(), this.body('elif', 'else', 'endif')])
    while (this.tokens.take('name', 'elif')) branches.push([condition(), this.body('elif', 'else', 'endif')])
    const otherwise = this.tokens.take('name', 'else') ? this.body('endif') : []
    this.tokens.expect('name', 'endif')
    return { type: 'if', branches, otherwise }
  }
  private loop(line: number): Statement {
    const target = this.target()
    this.tokens.expect('name', 'in')
    const iterable = this.expressions.tuple(false, ['recursive'])
    const condition = this.tokens.take('name', 'if') ? this.expressions.expression() : undefined
    const recursive = this.tokens.take('name', 'recursive')
    this.loops++
    const body = this.body('endfor', 'else')
    this.loops--
    const otherwise = this.tokens.take('name', 'else') ? this.body('endfor') : []
    this.tokens.expect('name', 'endfor')
    return { type: 'for', target, iterable, condition, body, otherwise, recursive, line }
  }
  /** Names to assign to: one, several, or an attribute of a namespace. */
  private target(attributes = false): Expression {
    const items = [this.targetItem(attributes)]
    let isTuple = false
    while (this.tokens.take('operator', ',')) {
      isTuple = true
      if (!this.tokens.is('name') && !this.tokens.isOperator('(')) break
      items.push(this.targetItem(attributes))
    }
    return isTuple ? { type: 'tuple', items } : items[0]
  }
  private targetItem(attributes: boolean): Expression {
    if (this.tokens.take('operator', '(')) {
      const inner = this.target()
      this.tokens.expect('operator', ')')
      return inner
    }
    const { value } = this.tokens.expect('name')
    if (value in constants) throw this.tokens.fault(`${value} can't be assigned to`)
    const name: Expression = { type: 'name', name: value }
    if (!attributes || !this.tokens.take('operator', '.')) return name
    return { type: 'attribute', object: name, name: this.tokens.expect('name').value }
  }
  private assignment(line: number): Statement {
    const target = this.target(true)
    if (this.tokens.take('operator', '='))
      return { type: 'set', target, value: this.expressions.tuple(), line }
    const filters = this.expressions.filters(false)
    return { type: 'capture', target, filters, body: this.bodyTo('endset'), line }
  }
  private macro(name: string, end: string, line: number): Macro {
    const parameters = this.tokens.isOperator('(') ? this.parameters() : []
    // A loop that a macro stands in is not the loop that a break in it would end.
    const outer = this.loops
    this.loops = 0
    const body = this.bodyTo(end)
    this.loops = outer
    return { type: 'macro', name, parameters, body, line }
  }
  private parameters(): Parameter[] {
    const parameters: Parameter[] = []
    this.tokens.expect('operator', '(')
    while (!this.tokens.take('operator', ')')) {
      if (parameters.length > 0) this.tokens.expect('operator', ',')
      const { value: name } = this.tokens.expect('name')
      parameters.push(
        this.tokens.take('operator', '=') ? { name, otherwise: this.expressions.expression() } : { name },
      )
    }
    return parameters
  }
  private callBlock(line: number): Statement {
    const parameters = this.tokens.isOperator('(') ? this.parameters() : []
    const call = this.expressions.expression()
    if (call.type !== 'call') throw this.tokens.fault('{% call %} needs a call')
    const caller = this.macro('caller', 'endcall', line)
    return { type: 'call block', call, caller: { ...caller, parameters } }
  }
  private withBlock(line: number): Statement {
    const values: [Expression, Expression][] = []
    while (!this.tokens.is('close')) {
      if (values.length > 0) this.tokens.expect('operator', ',')
      const target = this.targetItem(false)
      this.tokens.expect('operator', '=')
      values.push([target, this.expressions.expression()])
    }
    return { type: 'with', values, body: this.bodyTo('endwith'), line }
  }
}
