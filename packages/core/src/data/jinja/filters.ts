import { attribute, item } from './attributes.js'
import { dumps } from './dumps.js'
import { TemplateFault } from './lexer.js'
import { bounded, operate } from './operators.js'
import { printf } from './printf.js'
import {
  capitalise,
  centre,
  countArgument,
  join,
  replace,
  splitLines,
  strip,
  textArgument,
} from './strings.js'
import { testNamed } from './tests.js'
import {
  characters,
  equal,
  float,
  isInteger,
  iterate,
  Lazy,
  limits,
  type Named,
  order,
  size,
  text,
  truth,
  Tuple,
  typeOf,
  Undefined,
} from './values.js'
import { toInt, toFloat, round } from './rounding.js'

type Filter = (value: unknown, args: readonly unknown[], named: Named) => unknown

/** A filter by name. Throws TemplateFault naming it. */
export function filterNamed(name: string): Filter {
  if (Object.hasOwn(filters, name)) return filters[name]
  throw new TemplateFault(`there is no filter ${name}, or none that chat templates have`)
}

/** Arguments by position or by name. */
const given = (names: readonly string[], args: readonly unknown[], named: Named): unknown[] =>
  names.map((name, i) => (i < args.length ? args[i] : named.get(name)))

/** A function of an item's attribute: a path with dots, numbers being indices. */
const path = (by: unknown): ((v: unknown) => unknown) => {
  if (by === undefined || by === null) return (v) => v
  const parts = isInteger(by) ? [by] : textArgument(by).split('.')
  const keys = parts.map((p) => (typeof p === 'string' && /^\d+$/.test(p) ? Number(p) : p))
  return (v) => keys.reduce((at: unknown, key) => item(at, key), v)
}
const folded = (v: unknown): unknown => (typeof v === 'string' ? v.toLowerCase() : v)
function sorted(items: readonly unknown[], key: (v: unknown) => unknown, backwards: unknown): unknown[] {
  const sign = truth(backwards) ? -1 : 1
  return [...items].sort((a, b) => sign * order(key(a), key(b)))
}

/** select and its kin: by a test of the item or of an attribute of it. */
const picking =
  (byAttribute: boolean, wanted: boolean): Filter =>
  (value, args) => {
    const rest = byAttribute ? args.slice(1) : args
    const at = byAttribute ? path(args[0]) : (v: unknown) => v
    const [name, ...others] = rest
    const test = name === undefined ? truth : testNamed(textArgument(name))
    return new Lazy(iterate(value).filter((v) => test(at(v), ...others) === wanted))
  }

function mapped(value: unknown, args: readonly unknown[], named: Named): Lazy {
  const items = iterate(value)
  if (args.length === 0 && named.has('attribute')) {
    const at = path(named.get('attribute'))
    const otherwise = named.get('default')
    return new Lazy(
      items.map((v) => {
        const found = at(v)
        return found instanceof Undefined && otherwise !== undefined ? otherwise : found
      }),
    )
  }
  const filter = filterNamed(textArgument(args[0]))
  return new Lazy(items.map((v) => filter(v, args.slice(1), named)))
}

const end = (items: readonly unknown[], at: number): unknown =>
  items.length > 0 ? items.at(at) : new Undefined('the sequence was empty; its item')

function indent(value: unknown, [width = 4, first, blank]: readonly unknown[]): string {
  const by = typeof width === 'string' ? width : ' '.repeat(Math.min(limits.items, countArgument(width, 4)))
  const lines = splitLines(`${text(value)}\n`, false)
  bounded(text(value).length + by.length * lines.length)
  const rest = lines.slice(1).map((line) => (truth(blank) || line !== '' ? by + line : line))
  return (truth(first) ? by : '') + [lines[0] ?? '', ...rest].join('\n')
}
function truncate(
  value: unknown,
  [length = 255, whole, end = '...', leeway = 5]: readonly unknown[],
): string {
  const all = characters(text(value))
  const [most, tail] = [countArgument(length, 255), textArgument(end)]
  if (all.length <= most + countArgument(leeway, 5)) return all.join('')
  const cut = all.slice(0, most - tail.length).join('')
  return (
    (truth(whole) ? cut : cut.slice(0, cut.lastIndexOf(' ') < 0 ? undefined : cut.lastIndexOf(' '))) + tail
  )
}
/** Lists of some items each, the last filled up where a filling is given. */
function batch(value: unknown, [count, fill]: readonly unknown[]): Lazy {
  const n = countArgument(count, 1)
  const items = iterate(value)
  const rows: unknown[][] = []
  for (let i = 0; i < items.length; i += n) rows.push(items.slice(i, i + n))
  const last = rows.at(-1)
  bounded(n)
  while (fill !== undefined && fill !== null && last && last.length < n) last.push(fill)
  return new Lazy(rows)
}
function groupby(value: unknown, args: readonly unknown[], named: Named): Tuple[] {
  const [by, otherwise, sensitive] = given(['attribute', 'default', 'case_sensitive'], args, named)
  const at = (v: unknown) => {
    const found = path(by)(v)
    return found instanceof Undefined && otherwise !== undefined ? otherwise : found
  }
  const key = (v: unknown) => (truth(sensitive) ? at(v) : folded(at(v)))
  const groups: unknown[][] = []
  for (const v of sorted(iterate(value), key, false)) {
    const last = groups.at(-1)
    if (last && equal(key(last[0]), key(v))) last.push(v)
    else groups.push([v])
  }
  return groups.map((g) => Tuple.from([at(g[0]), g]) as Tuple)
}
function unique(value: unknown, args: readonly unknown[], named: Named): Lazy {
  const [sensitive, by] = given(['case_sensitive', 'attribute'], args, named)
  const key = (v: unknown) => (truth(sensitive) ? path(by)(v) : folded(path(by)(v)))
  const seen: unknown[] = []
  return new Lazy(iterate(value).filter((v) => !seen.some((s) => equal(s, key(v))) && seen.push(key(v)) > 0))
}
const extreme =
  (sign: number): Filter =>
  (value, args, named) => {
    const [sensitive, by] = given(['case_sensitive', 'attribute'], args, named)
    const key = (v: unknown) => (truth(sensitive) ? path(by)(v) : folded(path(by)(v)))
    const items = iterate(value)
    if (items.length === 0) return new Undefined('No aggregated item, sequence was empty; it')
    return items.reduce((a, b) => (sign * order(key(b), key(a)) > 0 ? b : a))
  }
function reversed(value: unknown): unknown {
  return typeof value === 'string'
    ? characters(value).reverse().join('')
    : new Lazy([...iterate(value)].reverse())
}
function tojson(value: unknown, args: readonly unknown[], named: Named): string {
  const [ascii = false, indentation, separators, sort = false] = given(
    ['ensure_ascii', 'indent', 'separators', 'sort_keys'],
    args,
    named,
  )
  const by = isInteger(indentation)
    ? ' '.repeat(Math.min(1000, Math.max(0, Number(indentation))))
    : (indentation ?? null)
  const pair =
    separators === undefined || separators === null ? [by === null ? ', ' : ',', ': '] : iterate(separators)
  const [between, after] = pair.map(textArgument)
  const result = dumps(value, {
    ensureAscii: truth(ascii),
    indent: by === null ? null : textArgument(by),
    separators: [between, after],
    sortKeys: truth(sort),
  })
  return bounded(result.length) && result
}
const html: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
}
const escaped = (v: unknown): string => text(v).replace(/[&<>'"]/g, (c) => html[c])

function dictsort(value: unknown, args: readonly unknown[], named: Named): Tuple[] {
  const [sensitive, by = 'key', backwards] = given(['case_sensitive', 'by', 'reverse'], args, named)
  if (!(value instanceof Map)) throw new TemplateFault(`dictsort of ${typeOf(value)}`)
  const at = by === 'value' ? 1 : 0
  const key = (v: unknown) => (truth(sensitive) ? (v as unknown[])[at] : folded((v as unknown[])[at]))
  return sorted(
    [...value].map((e) => Tuple.from(e)),
    key,
    backwards,
  ) as Tuple[]
}
function items(value: unknown): unknown {
  if (value instanceof Undefined) return new Lazy([])
  if (!(value instanceof Map)) throw new TemplateFault('Can only get item pairs from a mapping.')
  return new Lazy([...value].map((e) => Tuple.from(e)))
}
function joined(value: unknown, args: readonly unknown[], named: Named): string {
  const [separator = '', by] = given(['d', 'attribute'], args, named)
  return join(
    text(separator),
    iterate(value).map((v) => text(path(by)(v))),
  )
}

/** jinja2's filters (jinja2/filters.py), without those that write HTML or give another result in each run. */
const filters: Readonly<Record<string, Filter>> = {
  abs: (v) => (isInteger(v) && typeof v !== 'bigint' ? Math.abs(Number(v)) : float(Math.abs(Number(v)))),
  attr: (v, [name]) => attribute(v, textArgument(name)),
  batch,
  capitalize: (v) => capitalise(text(v)),
  center: (v, [width]) => centre(text(v), countArgument(width, 80)),
  count: (v) => size(v),
  length: (v) => size(v),
  default: defaulted,
  d: defaulted,
  dictsort,
  e: escaped,
  escape: escaped,
  first: (v) => end(iterate(v), 0),
  last: (v) => end(iterate(v), -1),
  float: (v, [otherwise], named) => toFloat(v, otherwise ?? named.get('default')),
  format: (v, args) => printf(text(v), Tuple.from(args)),
  groupby,
  indent: (v, args, named) => indent(v, given(['width', 'first', 'blank'], args, named)),
  int: (v, args, named) => {
    const [otherwise, base] = given(['default', 'base'], args, named)
    return toInt(v, otherwise, countArgument(base, 10))
  },
  items,
  join: joined,
  list: (v) => [...iterate(v)],
  lower: (v) => text(v).toLowerCase(),
  map: mapped,
  max: extreme(1),
  min: extreme(-1),
  reject: picking(false, false),
  rejectattr: picking(true, false),
  replace: (v, args, named) => {
    const [old, fresh, count] = given(['old', 'new', 'count'], args, named)
    return replace(text(v), old, fresh, countArgument(count, -1))
  },
  reverse: reversed,
  round: (v, args, named) => {
    const [digits, method] = given(['precision', 'method'], args, named)
    return round(v, countArgument(digits, 0), method)
  },
  safe: (v) => text(v),
  select: picking(false, true),
  selectattr: picking(true, true),
  sort: (v, args, named) => {
    const [backwards, sensitive, by] = given(['reverse', 'case_sensitive', 'attribute'], args, named)
    const key = path(by)
    return sorted(iterate(v), truth(sensitive) ? key : (x) => folded(key(x)), backwards)
  },
  string: (v) => text(v),
  sum: (v, args, named) => {
    const [by, start = 0] = given(['attribute', 'start'], args, named)
    return iterate(v).reduce((sum, x) => operate('+', sum, path(by)(x)), start)
  },
  title: (v) => text(v).replace(/([^-\s({[<]+)/g, (word) => capitalise(word)),
  tojson,
  trim: (v, [chars], named) => strip(text(v), chars ?? named.get('chars'), 'both'),
  truncate: (v, args, named) => truncate(v, given(['length', 'killwords', 'end', 'leeway'], args, named)),
  unique,
  upper: (v) => text(v).toUpperCase(),
  urlencode: (v) =>
    encodeURIComponent(text(v))
      .replace(/%2F/g, '/')
      .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
  wordcount: (v) => text(v).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
}
function defaulted(v: unknown, args: readonly unknown[], named: Named): unknown {
  const [otherwise = '', falsy] = given(['default_value', 'boolean'], args, named)
  return v instanceof Undefined || (truth(falsy) && !truth(v)) ? otherwise : v
}
