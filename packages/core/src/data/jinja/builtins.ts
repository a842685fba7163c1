import { TemplateFault } from './lexer.js'
import { strftime } from './strftime.js'
import { textArgument } from './strings.js'
import {
  type Callable,
  isInteger,
  iterate,
  keyOf,
  limits,
  type Named,
  Namespace,
  text,
  typeOf,
} from './values.js'

/** A namespace's field that a template may set. Throws TemplateFault. */
export function checkedField(name: string): string {
  if (name.startsWith('_'))
    throw new TemplateFault(`a namespace can't hold ${name}: names that begin with an underscore are refused`)
  return name
}

/** Names that every template has. */
export const builtins = (now: Date): Record<string, unknown> => ({
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
