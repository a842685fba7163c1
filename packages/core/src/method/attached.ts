import { GraftError, nearest } from '../errors.js'
import type { Adapter } from './method.js'

const parts = ['merge', 'penalty', 'afterStep', 'save', 'settled', 'ranks']
/** Throws BAD_METHOD for anything but an object of an adapter's parts, as attach must return. */
export function checkAttached(method: string, adapter: unknown): void {
  const bad = (what: string) =>
    new GraftError('BAD_METHOD', `Method ${method}: attach ${what}. This is a fault of the method's package.`)
  if (typeof adapter !== 'object' || adapter === null)
    throw bad(`returned ${adapter === null ? 'null' : typeof adapter}; expected an object, {} at least`)
  if (adapter instanceof Promise) throw bad('returned a promise: what has to be awaited goes into prepare')
  const { penalty } = adapter as Adapter
  if (penalty?.shape?.length)
    throw bad(
      `returned a penalty, but penalty is [${penalty.shape.join(', ')}]; expected a scalar (g.sumAll)`,
    )
  const unknown = Object.keys(adapter).find((key) => !parts.includes(key))
  if (unknown === undefined) return
  const close = nearest(unknown, parts)
  throw bad(
    `returned ${unknown}, which is no part of an adapter.${close ? ` Did you mean ${close}?` : ''} Known: ${parts.join(', ')}`,
  )
}
