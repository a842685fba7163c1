import { floatText } from '../json.js'
import { TemplateFault } from './lexer.js'
import { isInteger, isNumber, limits, repr, text, Tuple, typeOf } from './values.js'

/** Python's % on texts: %s, %r, %d, %i, %f, %x with flags, width and precision. */
export function printf(format: string, given: unknown): string {
  const values = given instanceof Tuple ? [...given] : [given]
  let next = 0
  const result = format.replace(
    /%(?:\((\w+)\))?([-+ 0#]*)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (
      _,
      key: string | undefined,
      flags: string,
      width: string,
      precision: string | undefined,
      kind: string,
    ) => {
      if (kind === '%') return '%'
      const value = key === undefined ? values[next++] : (given as Map<string, unknown>).get(key)
      if (key === undefined && next > values.length)
        throw new TemplateFault('not enough arguments for format string')
      return padded(converted(kind, value, precision), flags, Number(width || 0), kind)
    },
  )
  if (next < values.length && !(given instanceof Map))
    throw new TemplateFault('not all arguments converted during string formatting')
  return result
}

function converted(kind: string, value: unknown, precision: string | undefined): string {
  if (kind === 's' || kind === 'r') {
    const all = kind === 's' ? text(value) : repr(value)
    return precision === undefined ? all : all.slice(0, Number(precision))
  }
  if (!isNumber(value)) throw new TemplateFault(`%${kind} format: a number is required, not ${typeOf(value)}`)
  if (kind === 'd' || kind === 'i')
    return isInteger(value) ? `${BigInt(value)}` : `${Math.trunc(Number(value))}`
  if (kind === 'f') return Number(value).toFixed(Number(precision ?? 6))
  if (kind === 'x' && isInteger(value)) return BigInt(value).toString(16)
  throw new TemplateFault(`%${kind} is no format that chat templates have`)
}
function padded(body: string, flags: string, width: number, kind: string): string {
  if (width > limits.items) throw new TemplateFault('a width too great')
  const signed = flags.includes('+') && kind !== 's' && !body.startsWith('-') ? `+${body}` : body
  if (flags.includes('-')) return signed.padEnd(width)
  if (!flags.includes('0') || kind === 's' || kind === 'r') return signed.padStart(width)
  const sign = /^[-+]/.exec(signed)?.[0] ?? ''
  return sign + signed.slice(sign.length).padStart(width - sign.length, '0')
}

/** Python's str.format: {} {0} {name} {0.name}, with !r, and formats of width, precision and kind. */
export function formatted(
  format: string,
  args: readonly unknown[],
  named: ReadonlyMap<string, unknown>,
): string {
  let next = 0
  return format.replace(
    /\{\{|\}\}|\{(\w*)(![rs])?(?::([^{}]*))?\}|[{}]/g,
    (whole, name: string | undefined, conversion: string | undefined, spec: string | undefined) => {
      if (whole === '{{' || whole === '}}') return whole[0]
      if (name === undefined)
        throw new TemplateFault(`a format with a lone ${whole}, or one that is not supported`)
      const index = name === '' ? next++ : Number(name)
      const value = /^\d*$/.test(name) ? args[index] : named.get(name)
      if (value === undefined) throw new TemplateFault(`a format asks for ${whole}, which is not given`)
      return specified(conversion === '!r' ? repr(value) : value, spec ?? '')
    },
  )
}
function specified(value: unknown, spec: string): string {
  if (spec === '') return text(value)
  const found = /^(?:(.)?([<>^]))?(0?)(\d*)(,?)(?:\.(\d+))?([dfsx%]?)$/.exec(spec)
  if (!found) throw new TemplateFault(`format ${spec} is not supported`)
  const [, fill = ' ', align, zero, width, comma, precision, kind] = found
  const body = grouped(bodyOf(value, kind, precision), comma === ',')
  const pad = Math.max(0, Math.min(limits.items, Number(width || 0)) - [...body].length)
  if (zero === '0' && !align)
    return body.startsWith('-') ? `-${'0'.repeat(pad)}${body.slice(1)}` : '0'.repeat(pad) + body
  const side = align ?? (isNumber(value) ? '>' : '<')
  const left = side === '>' ? pad : side === '^' ? Math.floor(pad / 2) : 0
  return fill.repeat(left) + body + fill.repeat(pad - left)
}
function bodyOf(value: unknown, kind: string, precision: string | undefined): string {
  if (kind === '%') return `${(Number(value) * 100).toFixed(Number(precision ?? 6))}%`
  if (kind === 'f' || (isNumber(value) && precision !== undefined)) return converted('f', value, precision)
  if (kind === 'd' || kind === 'x') return converted(kind, value, precision)
  const all = isNumber(value) && !isInteger(value) ? floatText(Number(value)) : text(value)
  return precision === undefined ? all : all.slice(0, Number(precision))
}
const grouped = (body: string, wanted: boolean): string =>
  wanted ? body.replace(/^(-?\d+)/, (d) => d.replace(/\B(?=(\d{3})+$)/g, ',')) : body
