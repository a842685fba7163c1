import { TemplateFault } from './lexer.js'
import { compare } from './operators.js'
import { stringMethod } from './strings.js'
import {
  type Callable,
  characters,
  equal,
  isInteger,
  isNumber,
  keyOf,
  Namespace,
  Tuple,
  typeOf,
  Undefined,
} from './values.js'

/** What transformers' sandbox refuses: methods that change what a template was given. */
const changing: ReadonlySet<string> = new Set([
  ...['append', 'extend', 'insert', 'pop', 'remove', 'reverse', 'sort', 'clear'],
  ...['update', 'setdefault', 'popitem'],
])

function method(object: unknown, name: string): Callable | undefined {
  if (typeof object === 'string') return stringMethod(object, name)
  if (object instanceof Map) return dictMethod(object, name)
  if (Array.isArray(object)) return listMethod(object, name)
  if (name === 'is_integer' && isNumber(object)) return () => Number.isInteger(Number(object))
  return undefined
}
function dictMethod(dict: Map<unknown, unknown>, name: string): Callable | undefined {
  switch (name) {
    case 'items':
      return () => [...dict].map((entry) => Tuple.from(entry))
    case 'keys':
      return () => [...dict.keys()]
    case 'values':
      return () => [...dict.values()]
    case 'get':
      return ([key, otherwise = null], named) => {
        const k = keyOf(key)
        return dict.has(k) ? dict.get(k) : (named.get('default') ?? otherwise)
      }
    case 'copy':
      return () => new Map(dict)
  }
  return undefined
}
function listMethod(list: readonly unknown[], name: string): Callable | undefined {
  if (name === 'count') return ([item]) => list.filter((v) => equal(v, item)).length
  if (name === 'copy' && !(list instanceof Tuple)) return () => [...list]
  if (name !== 'index') return undefined
  return ([item]) => {
    const at = list.findIndex((v) => compare('==', v, item))
    if (at < 0) throw new TemplateFault('the list has no such item')
    return at
  }
}
const forbidden = (object: unknown, name: string): Callable | undefined =>
  changing.has(name) && (Array.isArray(object) || object instanceof Map) && !(object instanceof Tuple)
    ? () => {
        throw new TemplateFault(`a template may not change what it is given, and .${name}() does`)
      }
    : undefined

const missing = (object: unknown, name: string) =>
  new Undefined(`'${typeOf(object)} object' has no attribute '${name}'; it`)

/** object.name: a method goes before a key of that name, as in Python. */
export function attribute(object: unknown, name: string): unknown {
  if (object instanceof Undefined) throw object.fault()
  if (object instanceof Namespace) return object.fields.get(name) ?? fieldOr(object, name)
  if (object instanceof Loop) return object.field(name)
  const found = method(object, name) ?? forbidden(object, name)
  if (found) return found
  if (object instanceof Map && object.has(name)) return object.get(name)
  return missing(object, name)
}
const fieldOr = (object: Namespace, name: string): unknown =>
  object.fields.has(name) ? object.fields.get(name) : missing(object, name)

/** object[key]: a key goes before a method. */
export function item(object: unknown, key: unknown): unknown {
  if (object instanceof Undefined) throw object.fault()
  if (object instanceof Map && !Array.isArray(key) && !(key instanceof Map) && object.has(keyOf(key)))
    return object.get(keyOf(key))
  if (isInteger(key) && (Array.isArray(object) || typeof object === 'string')) {
    const all = typeof object === 'string' ? characters(object) : object
    const index = Number(key)
    const at = index < 0 ? index + all.length : index
    return at >= 0 && at < all.length ? all[at] : missing(object, String(key))
  }
  return typeof key === 'string' ? attribute(object, key) : missing(object, String(key))
}

/** object[start:stop:step]. */
export function slice(object: unknown, parts: readonly unknown[]): unknown {
  if (object instanceof Undefined) throw object.fault()
  if (typeof object !== 'string' && !Array.isArray(object))
    throw new TemplateFault(`'${typeOf(object)}' object can't be sliced`)
  const all = typeof object === 'string' ? characters(object) : object
  const [start, stop, step = 1] = parts.map((p) => (p === null || p === undefined ? undefined : Number(p)))
  if (step === 0) throw new TemplateFault('slice step cannot be zero')
  const [low, high] = step > 0 ? [0, all.length] : [-1, all.length - 1]
  const clamp = (n: number) => Math.min(high, Math.max(low, n < 0 ? n + all.length : n))
  const from = start === undefined ? (step > 0 ? low : high) : clamp(start)
  const to = stop === undefined ? (step > 0 ? high : low) : clamp(stop)
  const picked: unknown[] = []
  for (let i = from; step > 0 ? i < to : i > to; i += step) picked.push(all[i])
  if (typeof object === 'string') return picked.join('')
  return object instanceof Tuple ? Tuple.from(picked) : picked
}

/** What a loop's body knows of it. */
export class Loop {
  index0 = 0
  private changes: unknown
  constructor(
    private readonly items: readonly unknown[],
    private readonly depth: number,
    /** runs the loop again over other items, where it is recursive */
    readonly again?: (items: unknown) => string,
  ) {}

  field(name: string): unknown {
    const [i, n] = [this.index0, this.items.length]
    switch (name) {
      case 'index':
        return i + 1
      case 'index0':
        return i
      case 'revindex':
        return n - i
      case 'revindex0':
        return n - i - 1
      case 'first':
        return i === 0
      case 'last':
        return i === n - 1
      case 'length':
        return n
      case 'depth':
        return this.depth + 1
      case 'depth0':
        return this.depth
      case 'previtem':
        return i > 0 ? this.items[i - 1] : new Undefined('there is no previous item; loop.previtem')
      case 'nextitem':
        return i < n - 1 ? this.items[i + 1] : new Undefined('there is no next item; loop.nextitem')
      case 'cycle':
        return (args: readonly unknown[]) => args[i % args.length]
      case 'changed':
        return (args: readonly unknown[]) => this.changed(args)
    }
    return new Undefined(`loop.${name}`)
  }
  private changed(args: readonly unknown[]): boolean {
    const same = this.changes !== undefined && equal(this.changes, args)
    this.changes = args
    return !same
  }
}
