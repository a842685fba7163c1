import { TemplateFault } from './lexer.js'
import { compare, operate } from './operators.js'
import { isInteger, isNumber, Lazy, text, Undefined } from './values.js'

type Test = (value: unknown, ...args: unknown[]) => boolean
const comparing =
  (operator: string): Test =>
  (a, b) =>
    compare(operator, a, b)
const remainder = (v: unknown, n: unknown) => Number(operate('%', v, n))
const isIterable = (v: unknown) =>
  typeof v === 'string' || Array.isArray(v) || v instanceof Map || v instanceof Lazy || v instanceof Undefined

/** jinja2's tests (jinja2/tests.py). */
const tests: Readonly<Record<string, Test>> = {
  defined: (v) => !(v instanceof Undefined),
  undefined: (v) => v instanceof Undefined,
  none: (v) => v === null,
  boolean: (v) => typeof v === 'boolean',
  true: (v) => v === true,
  false: (v) => v === false,
  integer: (v) => isInteger(v) && typeof v !== 'boolean',
  float: (v) => isNumber(v) && !isInteger(v),
  number: (v) => isNumber(v),
  string: (v) => typeof v === 'string',
  mapping: (v) => v instanceof Map,
  iterable: isIterable,
  sequence: (v) => isIterable(v) && !(v instanceof Lazy),
  callable: (v) => typeof v === 'function',
  odd: (v) => remainder(v, 2) === 1,
  even: (v) => remainder(v, 2) === 0,
  divisibleby: (v, n) => remainder(v, n) === 0,
  lower: (v) => text(v) === text(v).toLowerCase() && text(v) !== text(v).toUpperCase(),
  upper: (v) => text(v) === text(v).toUpperCase() && text(v) !== text(v).toLowerCase(),
  sameas: (a, b) => a === b || (a === null && b === null),
  escaped: () => false,
  in: (v, all) => compare('in', v, all),
  ...Object.fromEntries(
    [
      ['==', ['eq', 'equalto', '==']],
      ['!=', ['ne', '!=']],
      ['>', ['gt', 'greaterthan', '>']],
      ['>=', ['ge', '>=']],
      ['<', ['lt', 'lessthan', '<']],
      ['<=', ['le', '<=']],
    ].flatMap(([operator, names]) => (names as string[]).map((n) => [n, comparing(operator as string)])),
  ),
}

/** A test by name. Throws TemplateFault naming it. */
export function testNamed(name: string): Test {
  if (Object.hasOwn(tests, name)) return tests[name]
  throw new TemplateFault(`there is no test ${name}`)
}
