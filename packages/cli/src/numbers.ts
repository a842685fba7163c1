import { InvalidArgumentError } from 'commander'

/** What a number may be, in flags and in requests. */
export interface NumberKind {
  what: string
  fits(n: number): boolean
}
export const anyNumber: NumberKind = { what: 'a number', fits: Number.isFinite }
export const count: NumberKind = {
  what: 'a whole number above 0',
  fits: (n) => Number.isSafeInteger(n) && n > 0,
}
export const whole: NumberKind = {
  what: 'a whole number, 0 or more',
  fits: (n) => Number.isSafeInteger(n) && n >= 0,
}
export const notNegative: NumberKind = {
  what: 'a number, 0 or more',
  fits: (n) => Number.isFinite(n) && n >= 0,
}
export const share: NumberKind = { what: 'a share above 0, at most 1', fits: (n) => n > 0 && n <= 1 }

/** Reads a flag's value, the only way that flags become numbers. */
export const read =
  ({ what, fits }: NumberKind) =>
  (text: string): number => {
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (!fits(value)) throw new InvalidArgumentError(`Expected ${what}.`)
    return value
  }
