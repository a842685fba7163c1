import type { Arguments, Expression, Filter } from './ast.js'
import { attribute, item, Loop, slice } from './attributes.js'
import { filterNamed } from './filters.js'
import { TemplateFault } from './lexer.js'
import { bounded, compare, negative, operate } from './operators.js'
import { textArgument } from './strings.js'
import { testNamed } from './tests.js'
import {
  type Callable,
  iterate,
  keyOf,
  type Named,
  spend,
  text,
  truth,
  Tuple,
  typeOf,
  Undefined,
} from './values.js'

import { Scope } from './scope.js'

/** What expressions come to, by Python's rules. Each step is counted. */
export class Expressions {
  value(e: Expression, scope: Scope): unknown {
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
  filtered(value: unknown, filters: readonly Filter[], scope: Scope): unknown {
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

  arguments({ positional, named, spread, namedSpread }: Arguments, scope: Scope): [unknown[], Named] {
    const args = positional.map((v) => this.value(v, scope))
    if (spread) args.push(...iterate(this.value(spread, scope)))
    const byName = new Map<string, unknown>(named.map(([name, v]) => [name, this.value(v, scope)]))
    const more = namedSpread && this.value(namedSpread, scope)
    if (more instanceof Map) for (const [name, v] of more) byName.set(textArgument(name), v)
    return [args, byName]
  }
  call(callee: unknown, args: readonly unknown[], named: Named): unknown {
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
