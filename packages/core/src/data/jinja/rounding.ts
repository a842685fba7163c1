import { Float } from '../json.js'
import { TemplateFault } from './lexer.js'
import { strip } from './strings.js'
import { float, int, isInteger, isNumber, typeOf } from './values.js'

export function toInt(value: unknown, otherwise: unknown = 0, base = 10): unknown {
  if (typeof value === 'string') {
    const body = strip(value, undefined, 'both').replace(/(?<=\d)_(?=\d)/g, '')
    const digits = base === 16 ? /^([-+]?)(?:0x)?([\da-f]+)$/i : /^([-+]?)(\d+)$/
    const [, sign, whole] = digits.exec(body) ?? []
    if (whole) return int(BigInt(`${base === 16 ? '0x' : ''}${whole}`) * (sign === '-' ? -1n : 1n))
    const real = toFloat(value, null)
    return real === null || !Number.isFinite(Number(real)) ? otherwise : Math.trunc(Number(real))
  }
  if (isInteger(value)) return typeof value === 'boolean' ? Number(value) : value
  return isNumber(value) && Number.isFinite(Number(value)) ? Math.trunc(Number(value)) : otherwise
}

export function toFloat(value: unknown, otherwise: unknown = new Float(0)): unknown {
  if (isNumber(value)) return float(Number(value))
  const body = typeof value === 'string' ? strip(value, undefined, 'both').replace(/(?<=\d)_(?=\d)/g, '') : ''
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(body) ? float(Number(body)) : otherwise
}

export function round(value: unknown, digits: number, method: unknown): unknown {
  if (!isNumber(value)) throw new TemplateFault(`round of ${typeOf(value)}`)
  const scale = 10 ** digits
  const n = Number(value)
  if (method === 'ceil') return float(Math.ceil(n * scale) / scale)
  if (method === 'floor') return float(Math.floor(n * scale) / scale)
  return isInteger(value) && digits >= 0 ? value : float(halfEven(n, digits))
}

/** Python's round: halves go to the even neighbour. */
function halfEven(n: number, digits: number): number {
  const scale = 10 ** digits
  const [below, rest] = [Math.floor(n * scale), n * scale - Math.floor(n * scale)]
  if (rest === 0.5 && Number.isInteger(n * scale * 2)) return (below % 2 === 0 ? below : below + 1) / scale
  return Number(n.toFixed(Math.max(0, digits)))
}
