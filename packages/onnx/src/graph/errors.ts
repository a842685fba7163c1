import { printable } from './printable.js'

/** Longer messages are cut in the middle: what went wrong stands first, what to do last. */
const longest = 1900
const ending = 400

/** An error with a stable code, where it happened and what to do, as every error of Graft has. What it quotes comes from
 *  outside: control characters are escaped, and a message is never longer than a screen. */
export class GraftError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(shortened(printable(message)), options)
    this.name = 'GraftError'
  }
}

function shortened(text: string): string {
  const left = text.length - longest
  return left <= 0
    ? text
    : `${text.slice(0, longest - ending)} … (${left} characters left out) … ${text.slice(-ending)}`
}
