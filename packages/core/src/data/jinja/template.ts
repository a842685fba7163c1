import type { Expression, For, Macro, Statement } from './ast.js'
import { Loop } from './attributes.js'
import { TemplateFault } from './lexer.js'
import { bounded } from './operators.js'
import { parseTemplate } from './parser.js'
import { builtins, checkedField } from './builtins.js'
import { Expressions } from './evaluate.js'
import { Scope } from './scope.js'
import {
  type Callable,
  fromJson,
  iterate,
  limits,
  type Named,
  Namespace,
  refill,
  spend,
  text,
  truth,
  Tuple,
  Undefined,
} from './values.js'

/** What a template wrote, and the ranges of it that stand between {% generation %} and {% endgeneration %}. */
export interface Rendered {
  text: string
  /** undefined where one stands in a macro or another captured block, so that its place isn't known */
  generated: readonly (readonly [start: number, end: number])[] | undefined
}

/**
 * A chat template as transformers runs it: Jinja2's language in its sandbox, Python's values, trim_blocks, lstrip_blocks, loop controls,
 * {% generation %}, tojson, raise_exception and strftime_now. Every step is counted, so a template that loops or swells ends in a fault.
 */
export class JinjaTemplate {
  private readonly body: readonly Statement[]
  /** Throws TemplateFault. */
  constructor(source: string) {
    this.body = parseTemplate(source)
  }
  /** Throws TemplateFault. */
  render(variables: Readonly<Record<string, unknown>>, now: Date = new Date()): Rendered {
    return new Run(variables, now).render(this.body)
  }
}

/** A text that grows. Only what stands at the top is where it will be in the end. */
class Output {
  private parts: string[] = []
  length = 0
  constructor(readonly isTop: boolean) {}
  add(piece: string): void {
    this.length += piece.length
    bounded(this.length)
    this.parts.push(piece)
  }
  get text(): string {
    return this.parts.join('')
  }
}

/** How a body ended. */
type Ending = 'break' | 'continue' | undefined

class Run {
  private readonly expressions = new Expressions()
  private depth = 0
  private readonly globals = new Scope()
  private readonly generated: (readonly [number, number])[] = []
  private isMisplaced = false

  constructor(variables: Readonly<Record<string, unknown>>, now: Date) {
    for (const [name, value] of Object.entries(builtins(now))) this.globals.set(name, value)
    for (const [name, value] of Object.entries(variables)) this.globals.set(name, fromJson(value))
  }

  render(body: readonly Statement[]): Rendered {
    refill()
    const out = new Output(true)
    this.run(body, new Scope(this.globals), out)
    return { text: out.text, generated: this.isMisplaced ? undefined : this.generated }
  }

  /** What a body writes where it isn't written at once. */
  private captured(body: readonly Statement[], scope: Scope): string {
    const out = new Output(false)
    if (++this.depth > limits.depth)
      throw new TemplateFault(`macros call each other deeper than ${limits.depth}`)
    this.run(body, scope, out)
    this.depth--
    return out.text
  }

  private run(body: readonly Statement[], scope: Scope, out: Output): Ending {
    for (const statement of body) {
      spend()
      const ending = this.statement(statement, scope, out)
      if (ending) return ending
    }
    return undefined
  }
  private statement(s: Statement, scope: Scope, out: Output): Ending {
    switch (s.type) {
      case 'text':
        out.add(s.text)
        return undefined
      case 'print':
        out.add(text(this.expressions.value(s.value, scope)))
        return undefined
      case 'if': {
        const branch = s.branches.find(([condition]) => truth(this.expressions.value(condition, scope)))
        return this.run(branch?.[1] ?? s.otherwise, scope, out)
      }
      case 'for':
        this.loop(s, this.expressions.value(s.iterable, scope), scope, out, 0)
        return undefined
      case 'set':
        this.assign(s.target, this.expressions.value(s.value, scope), scope)
        return undefined
      case 'capture':
        this.assign(
          s.target,
          this.expressions.filtered(this.captured(s.body, new Scope(scope)), s.filters, scope),
          scope,
        )
        return undefined
      case 'macro':
        scope.set(s.name, this.macro(s, scope))
        return undefined
      case 'call block':
        out.add(text(this.callBlock(s, scope)))
        return undefined
      case 'filter block':
        out.add(text(this.expressions.filtered(this.captured(s.body, new Scope(scope)), s.filters, scope)))
        return undefined
      case 'with': {
        const inner = new Scope(scope)
        for (const [target, value] of s.values)
          this.assign(target, this.expressions.value(value, scope), inner)
        return this.run(s.body, inner, out)
      }
      case 'generation':
        this.generation(s.body, scope, out)
        return undefined
      default:
        return s.type
    }
  }

  private generation(body: readonly Statement[], scope: Scope, out: Output): void {
    const written = this.captured(body, new Scope(scope))
    if (!out.isTop) this.isMisplaced = true
    this.generated.push([out.length, out.length + written.length])
    out.add(written)
  }

  private loop(s: For, iterable: unknown, scope: Scope, out: Output, depth: number): void {
    const items = this.chosen(s, iterable, scope)
    const again = (inner: unknown) => {
      const captured = new Output(false)
      if (depth >= limits.depth) throw new TemplateFault('a recursive loop goes too deep')
      this.loop(s, inner, scope, captured, depth + 1)
      return captured.text
    }
    const loop = new Loop(items, depth, s.recursive ? again : undefined)
    for (const [i, value] of items.entries()) {
      loop.index0 = i
      const inner = new Scope(scope)
      inner.set('loop', loop)
      this.assign(s.target, value, inner)
      spend()
      if (this.run(s.body, inner, out) === 'break') break
    }
    if (items.length === 0) this.run(s.otherwise, new Scope(scope), out)
  }
  private chosen({ target, condition }: For, iterable: unknown, scope: Scope): readonly unknown[] {
    const items = iterate(iterable)
    if (!condition) return items
    return items.filter((value) => {
      spend()
      const inner = new Scope(scope)
      this.assign(target, value, inner)
      return truth(this.expressions.value(condition, inner))
    })
  }

  private assign(target: Expression, value: unknown, scope: Scope): void {
    if (target.type === 'name') scope.set(target.name, value)
    else if (target.type === 'attribute') this.assignField(target, value, scope)
    else if (target.type === 'tuple') {
      const values = iterate(value)
      if (values.length !== target.items.length)
        throw new TemplateFault(`${values.length} values for ${target.items.length} names`)
      target.items.forEach((t, i) => this.assign(t, values[i], scope))
    }
  }
  private assignField(
    target: Extract<Expression, { type: 'attribute' }>,
    value: unknown,
    scope: Scope,
  ): void {
    const object = this.expressions.value(target.object, scope)
    if (!(object instanceof Namespace))
      throw new TemplateFault('cannot assign attribute on non-namespace object')
    object.fields.set(checkedField(target.name), value)
  }

  /** A macro sees the names of where it stands, and its own. */
  private macro(s: Macro, scope: Scope): Callable {
    return (args, named) => {
      spend()
      const inner = new Scope(scope)
      const rest = new Map(named)
      s.parameters.forEach(({ name, otherwise }, i) => {
        const isNamed = rest.has(name)
        if (i < args.length) inner.set(name, args[i])
        else if (isNamed) inner.set(name, rest.get(name))
        else
          inner.set(
            name,
            otherwise ? this.expressions.value(otherwise, inner) : new Undefined(`parameter '${name}'`),
          )
        if (isNamed && i >= args.length) rest.delete(name)
      })
      if (rest.has('caller')) inner.set('caller', rest.get('caller'))
      rest.delete('caller')
      inner.set('varargs', Tuple.from(args.slice(s.parameters.length)))
      inner.set('kwargs', rest)
      this.checkArguments(s, args, rest)
      return this.captured(s.body, inner)
    }
  }
  private checkArguments(s: Macro, args: readonly unknown[], rest: Named): void {
    const uses = (name: string) => mentions(s.body, name)
    if (args.length > s.parameters.length && !uses('varargs'))
      throw new TemplateFault(`macro '${s.name}' takes not more than ${s.parameters.length} argument(s)`)
    if (rest.size > 0 && !uses('kwargs'))
      throw new TemplateFault(`macro '${s.name}' takes no keyword argument '${[...rest.keys()][0]}'`)
  }
  private callBlock(s: Extract<Statement, { type: 'call block' }>, scope: Scope): unknown {
    const { callee, args } = s.call as Extract<Expression, { type: 'call' }>
    const [positional, named] = this.expressions.arguments(args, scope)
    return this.expressions.call(
      this.expressions.value(callee, scope),
      positional,
      new Map([...named, ['caller', this.macro(s.caller, scope)]]),
    )
  }
}

/** Whether a macro's body reads a name. */
function mentions(node: unknown, name: string): boolean {
  if (Array.isArray(node)) return node.some((n) => mentions(n, name))
  if (!node || typeof node !== 'object') return false
  const { type, name: own } = node as { type?: string; name?: string }
  return (type === 'name' && own === name) || Object.values(node).some((n) => mentions(n, name))
}
