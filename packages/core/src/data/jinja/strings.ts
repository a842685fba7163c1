import { onlyBlank, TemplateFault } from './lexer.js'
import { bounded } from './operators.js'
import { formatted } from './printf.js'
import {
  type Callable,
  characters,
  isInteger,
  iterate,
  lengthOf,
  limits,
  Tuple,
  typeOf,
  Undefined,
} from './values.js'

/** A text argument. */
export function textArgument(v: unknown): string {
  if (v instanceof Undefined) throw v.fault()
  if (typeof v !== 'string') throw new TemplateFault(`expected a str, got ${typeOf(v)}`)
  return v
}
/** A whole number argument. */
export function countArgument(v: unknown, otherwise: number): number {
  if (v === undefined || v === null) return otherwise
  if (!isInteger(v)) throw new TemplateFault(`expected an int, got ${typeOf(v)}`)
  return Number(v)
}

/** Characters taken off both ends, or one: blanks, or those given. */
export function strip(text: string, given: unknown, sides: 'both' | 'left' | 'right'): string {
  const set = given === undefined || given === null ? undefined : new Set(characters(textArgument(given)))
  const goes = (c: string) => (set ? set.has(c) : onlyBlank.test(c))
  const all = characters(text)
  let [start, end] = [0, all.length]
  while (sides !== 'right' && start < end && goes(all[start])) start++
  while (sides !== 'left' && end > start && goes(all[end - 1])) end--
  return all.slice(start, end).join('')
}

function split(text: string, separator: unknown, most: number): string[] {
  if (separator === undefined || separator === null) return splitBlanks(text, most)
  const by = textArgument(separator)
  if (by === '') throw new TemplateFault('empty separator')
  const all = text.split(by)
  return most < 0 || all.length <= most + 1 ? all : [...all.slice(0, most), all.slice(most).join(by)]
}
function splitBlanks(text: string, most: number): string[] {
  const parts: string[] = []
  let rest = strip(text, undefined, 'left')
  while (rest !== '') {
    const end = [...rest].findIndex((c) => onlyBlank.test(c))
    if (end < 0 || (most >= 0 && parts.length === most)) return [...parts, end < 0 ? rest : rest]
    const word = [...rest].slice(0, end).join('')
    parts.push(word)
    rest = strip(rest.slice(word.length), undefined, 'left')
  }
  return parts
}
function splitRight(text: string, separator: unknown, most: number): string[] {
  if (most < 0) return split(text, separator, -1)
  const back = (s: string) => characters(s).reverse().join('')
  const by = separator === undefined || separator === null ? separator : back(textArgument(separator))
  return split(back(text), by, most).map(back).reverse()
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: Python's line ends
const lineEnds = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g
export function splitLines(text: string, keep: boolean): string[] {
  const lines: string[] = []
  let from = 0
  for (const { 0: end, index } of text.matchAll(lineEnds)) {
    lines.push(text.slice(from, index + (keep ? end.length : 0)))
    from = index + end.length
  }
  return from < text.length ? [...lines, text.slice(from)] : lines
}

/** The text with some or all occurrences replaced. */
export function replace(text: string, from: unknown, to: unknown, count: number): string {
  const [old, fresh] = [textArgument(from), textArgument(to)]
  const parts = old === '' ? ['', ...characters(text), ''] : text.split(old)
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1)
  bounded(text.length + times * fresh.length)
  return (
    parts.slice(0, times + 1).join(fresh) +
    parts
      .slice(times + 1)
      .map((p) => old + p)
      .join('')
  )
}

function pad(text: string, width: number, fill: unknown, left: (room: number) => number): string {
  const room = Math.max(0, width - lengthOf(text))
  bounded(room)
  const c = fill === undefined ? ' ' : textArgument(fill)
  return c.repeat(left(room)) + text + c.repeat(room - left(room))
}
export const centre = (text: string, width: number, fill?: unknown): string =>
  pad(text, width, fill, (room) => Math.floor(room / 2) + (room & width & 1))

/** A character with one upper-case form as that, the rest lower-case. */
export const capitalise = (text: string): string => {
  const [first = '', ...rest] = characters(text)
  return first.toUpperCase() + rest.join('').toLowerCase()
}
/** Python's str.title: a letter after what is no letter is upper-case. */
const title = (text: string): string => text.replace(/\p{L}+/gu, (word) => capitalise(word))
const swapped = (text: string): string =>
  characters(text)
    .map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()))
    .join('')

/** Where a text stands in another, in characters from start to end; −1 where it doesn't. */
function find(text: string, [given, start, end]: readonly unknown[], last = false): number {
  const all = characters(text)
  const wanted = textArgument(given)
  const at = (v: unknown, otherwise: number) => {
    const n = countArgument(v, otherwise)
    return n < 0 ? Math.max(0, n + all.length) : n
  }
  const from = at(start, 0)
  const part = all.slice(from, at(end, all.length)).join('')
  const index = last ? part.lastIndexOf(wanted) : part.indexOf(wanted)
  return index < 0 || from > all.length ? -1 : from + lengthOf(part.slice(0, index))
}
const found = (index: number): number => {
  if (index < 0) throw new TemplateFault('substring not found')
  return index
}
function partition(text: string, by: string, last: boolean): Tuple {
  const at = last ? text.lastIndexOf(by) : text.indexOf(by)
  if (at < 0) return Tuple.from(last ? ['', '', text] : [text, '', '']) as Tuple
  return Tuple.from([text.slice(0, at), by, text.slice(at + by.length)]) as Tuple
}
/** Whether a text begins (or ends) with one text, or one of several. */
function edge(
  text: string,
  [given, start, end]: readonly unknown[],
  fits: (t: string, edge: string) => boolean,
): boolean {
  const part =
    start === undefined
      ? text
      : characters(text).slice(countArgument(start, 0), countArgument(end, Number.MAX_SAFE_INTEGER)).join('')
  return (given instanceof Tuple ? [...given] : [given]).some((e) => fits(part, textArgument(e)))
}
export function join(separator: string, items: readonly string[]): string {
  bounded(items.reduce((sum, item) => sum + item.length + separator.length, 0))
  return items.join(separator)
}
const all = (pattern: RegExp) => (text: string) => pattern.test(text)
const cased = (text: string): boolean => text.toLowerCase() !== text.toUpperCase()

type Method = (text: string, args: readonly unknown[], named: ReadonlyMap<string, unknown>) => unknown
/** Methods of Python's str. */
const methods: Readonly<Record<string, Method>> = {
  upper: (s) => s.toUpperCase(),
  lower: (s) => s.toLowerCase(),
  casefold: (s) => s.toLowerCase().replaceAll('ß', 'ss'),
  capitalize: capitalise,
  title,
  swapcase: swapped,
  strip: (s, [chars]) => strip(s, chars, 'both'),
  lstrip: (s, [chars]) => strip(s, chars, 'left'),
  rstrip: (s, [chars]) => strip(s, chars, 'right'),
  split: (s, [by, most], named) =>
    split(s, by ?? named.get('sep'), countArgument(most ?? named.get('maxsplit'), -1)),
  rsplit: (s, [by, most], named) =>
    splitRight(s, by ?? named.get('sep'), countArgument(most ?? named.get('maxsplit'), -1)),
  splitlines: (s, [keep], named) => splitLines(s, !!(keep ?? named.get('keepends'))),
  replace: (s, [from, to, count], named) =>
    replace(s, from, to, countArgument(count ?? named.get('count'), -1)),
  startswith: (s, args) => edge(s, args, (t, e) => t.startsWith(e)),
  endswith: (s, args) => edge(s, args, (t, e) => t.endsWith(e)),
  removeprefix: (s, [p]) => (s.startsWith(textArgument(p)) ? s.slice((p as string).length) : s),
  removesuffix: (s, [p]) => (p !== '' && s.endsWith(textArgument(p)) ? s.slice(0, -(p as string).length) : s),
  find: (s, args) => find(s, args),
  rfind: (s, args) => find(s, args, true),
  index: (s, args) => found(find(s, args)),
  rindex: (s, args) => found(find(s, args, true)),
  count: (s, [part]) => (part === '' ? lengthOf(s) + 1 : s.split(textArgument(part)).length - 1),
  partition: (s, [by]) => partition(s, textArgument(by), false),
  rpartition: (s, [by]) => partition(s, textArgument(by), true),
  join: (s, [items]) => join(s, iterate(items).map(textArgument)),
  center: (s, [width, fill]) => centre(s, countArgument(width, 0), fill),
  ljust: (s, [width, fill]) => pad(s, countArgument(width, 0), fill, () => 0),
  rjust: (s, [width, fill]) => pad(s, countArgument(width, 0), fill, (room) => room),
  zfill: (s, [width]) => {
    const sign = /^[-+]/.exec(s)?.[0] ?? ''
    return sign + pad(s.slice(sign.length), countArgument(width, 0) - sign.length, '0', (room) => room)
  },
  expandtabs: (s, [width]) =>
    replace(s, '\t', ' '.repeat(Math.min(limits.items, countArgument(width, 8))), -1),
  format: (s, args, named) => formatted(s, args, named),
  isdigit: all(/^\p{Nd}+$/u),
  isdecimal: all(/^\p{Nd}+$/u),
  isnumeric: all(/^\p{N}+$/u),
  isalpha: all(/^\p{L}+$/u),
  isalnum: all(/^[\p{L}\p{N}]+$/u),
  isspace: (s) => s !== '' && characters(s).every((c) => onlyBlank.test(c)),
  isascii: all(/^[\0-\x7f]*$/), // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII has them
  islower: (s) => cased(s) && s === s.toLowerCase(),
  isupper: (s) => cased(s) && s === s.toUpperCase(),
  istitle: (s) => cased(s) && s === title(s),
}

export const stringMethod = (text: string, name: string): Callable | undefined =>
  Object.hasOwn(methods, name) ? (args, named) => methods[name](text, args, named) : undefined
