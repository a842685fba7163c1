import type { Settings, Value } from '@graft-peft/core'
import { activation } from './activations.js'
import type { Scope } from './scope.js'

/** Names and shape of a feed-forward part. */
export interface FeedForward {
  /** none: up, activation, down */
  gate?: string
  up: string
  down: string
  /** one projection for gate and up, in this order, under the name `up` */
  fused?: boolean
  bias: boolean
  activation: (at: Scope, x: Value) => Value
}

/** down(act(gate(x)) · up(x)), or down(act(up(x))) without a gate. */
export function gatedFeedForward(
  at: Scope,
  { gate, up, down, fused, bias, activation: act }: FeedForward,
  width: number,
  inner: number,
  x: Value,
): Value {
  const { g } = at
  const project = (name: string, out = inner) => at.linear(name, x, width, out, bias)
  const parts = (): Value[] => {
    if (!fused) return gate ? [project(gate), project(up)] : [project(up)]
    const both = project(up, 2 * inner)
    return at.run(() => g.split(both, [inner, inner], -1))
  }
  const [first, second] = parts()
  const mixed = at.run(() => (second ? g.mul(act(at, first), second) : act(at, first)))
  return at.linear(down, mixed, inner, width, bias)
}

/** The activation of a feed-forward part that a key of config.json names. */
export const named = (
  config: Settings,
  keys: string | readonly string[],
  otherwise: string,
): FeedForward['activation'] => {
  // Heeded in any case, looked up where it is used.
  config.text(keys, otherwise)
  return (at, x) => activation(config, keys, otherwise)(at.g, x)
}
