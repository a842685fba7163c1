import type { Arguments, Expression, Filter, For, Macro, Statement } from './ast.js'
import { attribute, item, Loop, slice } from './attributes.js'
import { filterNamed } from './filters.js'
import { TemplateFault } from './lexer.js'
import { bounded, compare, negative, operate } from './operators.js'
import { parseTemplate } from './parser.js'
import { strftime } from './strftime.js'
import { textArgument } from './strings.js'
import { testNamed } from './tests.js'
import {
  type Callable,
  fromJson,
  isInteger,
  iterate,
  keyOf,
  limits,
  type Named,
  Namespace,
  refill,
  spend,
  text,
  truth,
  Tuple,
  typeOf,
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

class Scope {
  private readonly names = new Map<string, unknown>()
  constructor(private readonly outer?: Scope) {}
  get(name: string): unknown {
    if (this.names.has(name)) return this.names.get(name)
    return this.outer?.get(name)
  }
  set(name: string, value: unknown): void {
    this.names.set(name, value)
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
        out.add(text(this.value(s.value, scope)))
        return undefined
      case 'if': {
        const branch = s.branches.find(([condition]) => truth(this.value(condition, scope)))
        return this.run(branch?.[1] ?? s.otherwise, scope, out)
      }
      case 'for':
        this.loop(s, this.value(s.iterable, scope), scope, out, 0)
        return undefined
      case 'set':
        this.assign(s.target, this.value(s.value, scope), scope)
        return undefined
      case 'capture':
        this.assign(s.target, this.filtered(this.captured(s.body, new Scope(scope)), s.filters, scope), scope)
        return undefined
      case 'macro':
        scope.set(s.name, this.macro(s, scope))
        return undefined
      case 'call block':
        out.add(text(this.callBlock(s, scope)))
        return undefined
      case 'filter block':
        out.add(text(this.filtered(this.captured(s.body, new Scope(scope)), s.filters, scope)))
        return undefined
      case 'with': {
        const inner = new Scope(scope)
        for (const [target, value] of s.values) this.assign(target, this.value(value, scope), inner)
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
      return truth(this.value(condition, inner))
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
    const object = this.value(target.object, scope)
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
        else inner.set(name, otherwise ? this.value(otherwise, inner) : new Undefined(`parameter '${name}'`))
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
    const [positional, named] = this.arguments(args, scope)
    return this.call(
      this.value(callee, scope),
      positional,
      new Map([...named, ['caller', this.macro(s.caller, scope)]]),
    )
  }

  private value(e: Expression, scope: Scope): unknown {
    spend()
    switch (e.type) {
      case 'const':
        return e.value
      case 'name': {
        const found = scope.get(e.name)
        return found === undefined ? new Undefined(`'${e.name}'`) : found
      }
      case 'list':
        return e.items.map((v) => this.value(v, scope))
      case 'tuple':
        return Tuple.from(e.items.map((v) => this.value(v, scope)))
      case 'dict':
        return new Map(e.items.map(([k, v]) => [keyOf(this.value(k, scope)), this.value(v, scope)]))
      case 'concat':
        return this.concatenated(e.items, scope)
      case 'attribute':
        return attribute(this.value(e.object, scope), e.name)
      case 'item':
        return this.item(e, scope)
      case 'slice':
        throw new TemplateFault('a slice stands among several indices')
      case 'call':
        return this.at(e.line, () => {
          const [args, named] = this.arguments(e.args, scope)
          return this.call(this.value(e.callee, scope), args, named)
        })
      case 'filter':
        return this.filtered(this.value(e.operand, scope), [e], scope)
      case 'test':
        return this.test(e, scope)
      case 'unary':
        return this.unary(e, scope)
      case 'binary':
        return this.binary(e, scope)
      case 'compare':
        return this.comparison(e, scope)
      case 'choice':
        if (truth(this.value(e.condition, scope))) return this.value(e.chosen, scope)
        return e.otherwise
          ? this.value(e.otherwise, scope)
          : new Undefined('the inline if-expression evaluated to false and has no else; it')
    }
  }
  private concatenated(items: readonly Expression[], scope: Scope): string {
    const texts = items.map((v) => text(this.value(v, scope)))
    bounded(texts.reduce((sum, t) => sum + t.length, 0))
    return texts.join('')
  }
  private item(e: Extract<Expression, { type: 'item' }>, scope: Scope): unknown {
    const object = this.value(e.object, scope)
    if (e.index.type !== 'slice') return item(object, this.value(e.index, scope))
    return slice(
      object,
      e.index.parts.map((p) => (p ? this.value(p, scope) : null)),
    )
  }
  private unary({ operator, operand }: Extract<Expression, { type: 'unary' }>, scope: Scope): unknown {
    const value = this.value(operand, scope)
    if (operator === 'not') return !truth(value)
    return operator === '-' ? negative(value) : negative(negative(value))
  }
  private binary(e: Extract<Expression, { type: 'binary' }>, scope: Scope): unknown {
    const left = this.value(e.left, scope)
    if (e.operator === 'and') return truth(left) ? this.value(e.right, scope) : left
    if (e.operator === 'or') return truth(left) ? left : this.value(e.right, scope)
    return this.at(e.line, () => operate(e.operator, left, this.value(e.right, scope)))
  }
  private comparison(e: Extract<Expression, { type: 'compare' }>, scope: Scope): boolean {
    let left = this.value(e.first, scope)
    for (const [operator, operand] of e.rest) {
      const right = this.value(operand, scope)
      if (!this.at(e.line, () => compare(operator, left, right))) return false
      left = right
    }
    return true
  }
  private filtered(value: unknown, filters: readonly Filter[], scope: Scope): unknown {
    return filters.reduce(
      (v, { name, args, line }) => this.at(line, () => filterNamed(name)(v, ...this.arguments(args, scope))),
      value,
    )
  }
  private test(e: Extract<Expression, { type: 'test' }>, scope: Scope): boolean {
    return this.at(e.line, () => {
      const value = this.value(e.operand, scope)
      if (e.name === 'filter' || e.name === 'test') return this.knows(e.name, textArgument(value))
      return testNamed(e.name)(value, ...this.arguments(e.args, scope)[0])
    })
  }
  private knows(kind: 'filter' | 'test', name: string): boolean {
    try {
      return !!(kind === 'filter' ? filterNamed(name) : testNamed(name))
    } catch {
      return false
    }
  }

  private arguments({ positional, named, spread, namedSpread }: Arguments, scope: Scope): [unknown[], Named] {
    const args = positional.map((v) => this.value(v, scope))
    if (spread) args.push(...iterate(this.value(spread, scope)))
    const byName = new Map<string, unknown>(named.map(([name, v]) => [name, this.value(v, scope)]))
    const more = namedSpread && this.value(namedSpread, scope)
    if (more instanceof Map) for (const [name, v] of more) byName.set(textArgument(name), v)
    return [args, byName]
  }
  private call(callee: unknown, args: readonly unknown[], named: Named): unknown {
    if (typeof callee === 'function') return (callee as Callable)(args, named)
    if (callee instanceof Loop && callee.again) return callee.again(args[0])
    if (callee instanceof Undefined) throw callee.fault()
    throw new TemplateFault(`'${typeOf(callee)}' object is not callable`)
  }
  /** Says where a fault happened, where it doesn't say so itself. */
  private at<T>(line: number, compute: () => T): T {
    try {
      return compute()
    } catch (error) {
      if (!(error instanceof TemplateFault) || error.line !== undefined) throw error
      throw new TemplateFault(error.message, line)
    }
  }
}

/** Whether a macro's body reads a name. */
function mentions(node: unknown, name: string): boolean {
  if (Array.isArray(node)) return node.some((n) => mentions(n, name))
  if (!node || typeof node !== 'object') return false
  const { type, name: own } = node as { type?: string; name?: string }
  return (type === 'name' && own === name) || Object.values(node).some((n) => mentions(n, name))
}

function checkedField(name: string): string {
  if (name.startsWith('_'))
    throw new TemplateFault(`a namespace can't hold ${name}: names that begin with an underscore are refused`)
  return name
}

/** Names that every template has. */
const builtins = (now: Date): Record<string, unknown> => ({
  range: range as Callable,
  dict: ((args, named) => dict(args, named)) satisfies Callable,
  namespace: ((args, named) => {
    const fields = dict(args, named)
    for (const name of fields.keys()) checkedField(textArgument(name))
    return new Namespace(fields as Map<string, unknown>)
  }) satisfies Callable,
  raise_exception: ((args) => {
    throw new TemplateFault(text(args[0]))
  }) satisfies Callable,
  strftime_now: (([format]) => strftime(textArgument(format), now)) satisfies Callable,
  cycler: (() => refused('cycler')) satisfies Callable,
  joiner: (() => refused('joiner')) satisfies Callable,
  lipsum: (() => refused('lipsum')) satisfies Callable,
})
function refused(name: string): never {
  throw new TemplateFault(`${name}() is none that chat templates have`)
}
function dict(args: readonly unknown[], named: Named): Map<unknown, unknown> {
  const [first] = args
  const entries =
    first instanceof Map
      ? [...first]
      : iterate(first ?? []).map((pair) => [...iterate(pair)] as [unknown, unknown])
  return new Map([...entries.map(([k, v]) => [keyOf(k), v] as const), ...named])
}
function range(args: readonly unknown[]): number[] {
  const numbers = args.map((v) => {
    if (!isInteger(v)) throw new TemplateFault(`range() of ${typeOf(v)}`)
    return Number(v)
  })
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]] : numbers
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (!(length <= limits.items))
    throw new TemplateFault(`Range too big. The sandbox blocks ranges larger than ${limits.items}.`)
  return Array.from({ length }, (_, i) => start + i * step)
}
