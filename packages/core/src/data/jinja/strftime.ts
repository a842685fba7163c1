import { TemplateFault } from './lexer.js'

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December'],
]
const two = (n: number): string => String(n).padStart(2, '0')
const dayOfYear = (d: Date): number =>
  Math.round(
    (new Date(d.getFullYear(), d.getMonth(), d.getDate(), 12).getTime() -
      new Date(d.getFullYear(), 0, 0, 12).getTime()) /
      86_400_000,
  )

const fields: Readonly<Record<string, (d: Date) => string | number>> = {
  a: (d) => days[d.getDay()].slice(0, 3),
  A: (d) => days[d.getDay()],
  w: (d) => d.getDay(),
  d: (d) => two(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2),
  b: (d) => months[d.getMonth()].slice(0, 3),
  B: (d) => months[d.getMonth()],
  m: (d) => two(d.getMonth() + 1),
  y: (d) => two(d.getFullYear() % 100),
  Y: (d) => d.getFullYear(),
  H: (d) => two(d.getHours()),
  I: (d) => two(d.getHours() % 12 || 12),
  p: (d) => (d.getHours() < 12 ? 'AM' : 'PM'),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  f: (d) => String(d.getMilliseconds() * 1000).padStart(6, '0'),
  j: (d) => String(dayOfYear(d)).padStart(3, '0'),
  F: (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`,
  T: (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`,
  z: () => '',
  Z: () => '',
  '%': () => '%',
}
/** Python's strftime in the C locale; %-d and the like without a leading zero. */
export const strftime = (format: string, date: Date): string =>
  format.replace(/%(-?)([\s\S])/g, (whole, bare: string, kind: string) => {
    const field = fields[kind]
    if (!field) throw new TemplateFault(`strftime_now: ${whole} is not supported`)
    return bare ? String(field(date)).replace(/^[0 ]+(?=.)/, '') : String(field(date))
  })
