import type { Typed } from './ops/spec.js'
import type { Value } from './types.js'

/** What may be said of a node as it is made. */
export interface NodeOptions {
  /** names of the outputs; null leaves an optional output out */
  outputs?: (string | null)[]
  /** number of outputs, when they need no names */
  count?: number
  name?: string
  scope?: string
  captures?: Value[]
  /** types to believe where the operator has no rule of its own */
  declared?: ReadonlyMap<string, Typed>
}
