import { TemplateFault } from './lexer.js'
import { printf } from './printf.js'
import {
  equal,
  float,
  int,
  isInteger,
  isNumber,
  iterate,
  keyOf,
  limits,
  order,
  Tuple,
  typeOf,
  Undefined,
} from './values.js'

/** Python's binary operators. Throws TemplateFault for operands that they don't take. */
export function operate(operator: string, a: unknown, b: unknown): unknown {
  for (const v of [a, b]) if (v instanceof Undefined) throw v.fault()
  if (operator === '%' && typeof a === 'string') return printf(a, b)
  if (isNumber(a) && isNumber(b)) return arithmetic(operator, a, b)
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') return bounded(a.length + b.length) && a + b
    if (Array.isArray(a) && Array.isArray(b) && typeOf(a) === typeOf(b) && bounded(8 * (a.length + b.length)))
      return a instanceof Tuple ? Tuple.from([...a, ...b]) : [...a, ...b]
  }
  if (operator === '*') {
    if (isInteger(b)) return repeated(a, Number(b), b)
    if (isInteger(a)) return repeated(b, Number(a), a)
  }
  throw unsupported(operator, a, b)
}
const unsupported = (operator: string, a: unknown, b: unknown) =>
  new TemplateFault(`unsupported operand type(s) for ${operator}: '${typeOf(a)}' and '${typeOf(b)}'`)

/** True, or a fault for a text that would be longer than any conversation. */
export function bounded(length: number): true {
  if (length > limits.length) throw new TemplateFault(`a text grows beyond ${limits.length} characters`)
  return true
}

function repeated(v: unknown, count: number, given: unknown): unknown {
  const times = Math.max(0, count)
  if (typeof v === 'string') return bounded(v.length * times) && v.repeat(times)
  if (!Array.isArray(v)) throw unsupported('*', v, given)
  bounded(8 * v.length * times)
  const items = Array.from({ length: times }, () => [...v]).flat()
  return v instanceof Tuple ? Tuple.from(items) : items
}

function arithmetic(operator: string, a: unknown, b: unknown): unknown {
  if (isInteger(a) && isInteger(b)) {
    const small = whole(operator, Number(a), Number(b))
    if (small !== undefined) return small
    return big(operator, BigInt(a), BigInt(b))
  }
  return float(real(operator, Number(a), Number(b)))
}

/** On whole numbers that stay exact; undefined where they may not. */
function whole(operator: string, a: number, b: number): unknown {
  if ('/ // %'.split(' ').includes(operator) && b === 0) throw new TemplateFault('division by zero')
  if (operator === '/') return float(a / b)
  if (operator === '**' && b < 0) return float(a ** b)
  const value = real(operator, a, b)
  return [a, b, value].every(Number.isSafeInteger) ? value : undefined
}
function big(operator: string, a: bigint, b: bigint): unknown {
  const floor = () => a / b - BigInt(a % b !== 0n && a < 0n !== b < 0n)
  switch (operator) {
    case '+':
      return int(a + b)
    case '-':
      return int(a - b)
    case '*':
      return int(a * b)
    case '//':
      return int(floor())
    case '%':
      return int(a - floor() * b)
    case '**':
      if (b > 1000n) throw new TemplateFault('a power too great')
      return int(a ** b)
  }
  throw unsupported(operator, a, b)
}
function real(operator: string, a: number, b: number): number {
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '**':
      return a ** b
  }
  if (b === 0) throw new TemplateFault('division by zero')
  if (operator === '/') return a / b
  const quotient = Math.floor(a / b)
  return operator === '//' ? quotient : a - quotient * b
}

export function negative(v: unknown): unknown {
  if (v instanceof Undefined) throw v.fault()
  if (!isNumber(v)) throw new TemplateFault(`bad operand type for unary -: '${typeOf(v)}'`)
  return isInteger(v) ? int(typeof v === 'bigint' ? -v : 0 - Number(v)) : float(-Number(v))
}

/** Python's comparisons, membership among them. */
export function compare(operator: string, a: unknown, b: unknown): boolean {
  switch (operator) {
    case '==':
      return equal(a, b)
    case '!=':
      return !equal(a, b)
    case 'in':
      return contains(b, a)
    case 'not in':
      return !contains(b, a)
  }
  const sign = order(a, b)
  if (operator === '<') return sign < 0
  if (operator === '>') return sign > 0
  return operator === '<=' ? sign <= 0 : sign >= 0
}
export function contains(all: unknown, item: unknown): boolean {
  if (typeof all === 'string') {
    if (item instanceof Undefined) throw item.fault()
    if (typeof item !== 'string')
      throw new TemplateFault(`'in <string>' requires string as left operand, not ${typeOf(item)}`)
    return all.includes(item)
  }
  if (all instanceof Map) return all.has(keyOf(item))
  return iterate(all).some((v) => equal(v, item))
}
