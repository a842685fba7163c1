import type { Value } from '@graft-peft/core'
import type { Activation } from './activations.js'
import { attend, type Heads, joinHeads, keysFirst, splitHeads } from './attention.js'
import type { Scope } from './scope.js'

/** Sizes of a layer as fairseq has it: BART, OPT, M2M-100, XGLM. */
export interface BartLayer {
  width: number
  heads: number
  inner: number
  epsilon: number
  act: Activation
  /** norms of what attention and feed-forward read; else of the sums after them */
  before: boolean
  bias?: boolean
  /** bias of the key projections, where it isn't the others' */
  keyBias?: boolean
  /** the module of the activation */
  activation?: string
}
type KeysAndValues = Pick<Heads, 'key' | 'value'>
/** What one attention looks at. */
export interface Look {
  bias?: Value
  extend?: (heads: KeysAndValues) => KeysAndValues
}

/** Attention of x [batch, sequence, width] to `read`, itself where left out. */
export function bartAttention(
  at: Scope,
  { width, heads, bias = true, keyBias = bias }: BartLayer,
  x: Value,
  { bias: seen, extend = (now) => now }: Look,
  read = x,
): Value {
  const { g } = at
  const [q, k, v] = keysFirst((name) =>
    at.linear(name, name === 'q_proj' ? x : read, width, width, name === 'k_proj' ? keyBias : bias),
  )
  const mixed = at.run(() => {
    const [query, key, value] = [q, k, v].map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
    return joinHeads(g, attend(g, { query, ...extend({ key, value }) }, { bias: seen }))
  })
  return at.linear('out_proj', mixed, width, width, bias)
}

/** A layer of an encoder, or of a decoder that reads `source`. */
export function bartLayer(
  at: Scope,
  shape: BartLayer,
  x: Value,
  self: Look,
  source?: Look & { states: Value },
): Value {
  const { width, inner, epsilon, act, before, bias = true, activation = 'activation_fn' } = shape
  const { g } = at
  const norm = (name: string, y: Value) => at.layerNorm(name, y, width, epsilon)
  const around = (name: string, y: Value, f: (read: Value) => Value): Value => {
    const made = f(before ? norm(name, y) : y)
    const sum = at.run(() => g.add(y, made))
    return before ? sum : norm(name, sum)
  }
  const attended = around('self_attn_layer_norm', x, (y) => bartAttention(at.in('self_attn'), shape, y, self))
  const informed = !source
    ? attended
    : around('encoder_attn_layer_norm', attended, (y) =>
        bartAttention(at.in('encoder_attn'), shape, y, source, source.states),
      )
  return around('final_layer_norm', informed, (y) => {
    const up = at.linear('fc1', y, width, inner, bias)
    const activated = at.in(activation).run(() => act(g, up))
    return at.linear('fc2', activated, inner, width, bias)
  })
}
