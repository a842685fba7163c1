import { type Builder, type Value } from '@graft-peft/core'
import type { Activation } from './activations.js'
import { attend, joinHeads, keysFirst, splitHeads } from './attention.js'
import type { Scope } from './scope.js'

/** Sizes and names of a Vision Transformer's layer (Dosovitskiy et al., 2021, arXiv 2010.11929). */
export interface VitLayer {
  width: number
  heads: number
  epsilon: number
  /** biases of query, key, value and output */
  biases: readonly [boolean, boolean, boolean, boolean]
  /** norms before attention and before the feed-forward part */
  norms: readonly [string, string]
  /** what attention and the feed-forward part are scaled by, per feature */
  scales?: readonly [string, string]
  attention?: string
  output?: string
  feedForward: (at: Scope, x: Value) => Value
  /** whether torch has keys and values before queries */
  isKeysFirst?: boolean
  /** added to scores */
  headBias?: (at: Scope) => Value | undefined
  turn?: (heads: Value) => Value
}

/** What CLIP's and SigLIP's towers call a layer's parts. */
export const clipLayer = {
  biases: [true, true, true, true],
  norms: ['layer_norm1', 'layer_norm2'],
  attention: 'self_attn',
  output: 'out_proj',
  isKeysFirst: true,
} as const

export function vitLayer(at: Scope, shape: VitLayer, x: Value): Value {
  const { g } = at
  const { width, epsilon, norms, scales } = shape
  const added = (to: Value, y: Value, i: 0 | 1): Value => {
    const factor = scales && at.parameter(scales[i], [width])
    return at.run(() => g.add(factor ? g.mul(y, factor) : y, to))
  }
  const attended = added(x, attention(at, shape, at.layerNorm(norms[0], x, width, epsilon)), 0)
  const fed = shape.feedForward(at.in('mlp'), at.layerNorm(norms[1], attended, width, epsilon))
  return added(attended, fed, 1)
}

function attention(at: Scope, shape: VitLayer, x: Value): Value {
  const { g } = at
  const { width, heads, biases, turn = (y) => y, attention: name = 'attention', output = 'o_proj' } = shape
  const self = at.in(name)
  const headBias = shape.headBias?.(at)
  const names = ['q_proj', 'k_proj', 'v_proj']
  const project = (part: string) => self.linear(part, x, width, width, biases[names.indexOf(part)])
  const parts = shape.isKeysFirst ? keysFirst(project) : names.map(project)
  const mixed = self.run(() => {
    const [q, k, value] = parts.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
    return joinHeads(g, attend(g, { query: turn(q), key: turn(k), value }, { headBias }))
  })
  return self.linear(output, mixed, width, width, biases[3])
}

/** fc2(act(fc1(x))) */
export const dense =
  (width: number, inner: number, act: Activation, [first, last] = ['fc1', 'fc2'], bias = true) =>
  (at: Scope, x: Value): Value => {
    const up = at.linear(first, x, width, inner, bias)
    return at.linear(
      last,
      at.run(() => act(at.g, up)),
      inner,
      width,
      bias,
    )
  }

/** Biases between the cells of a grid and the token before them, each [cells + 1, cells + 1] of a table's rows (Bao et al., 2022, arXiv 2106.08254). */
export function gridRows(size: number): number[] {
  const [side, cells] = [2 * size - 1, size * size]
  const rows = side * side + 3
  return Array.from({ length: (cells + 1) ** 2 }, (_, i) => {
    const [from, to] = [Math.floor(i / (cells + 1)) - 1, (i % (cells + 1)) - 1]
    if (from < 0 && to < 0) return rows - 1
    if (from < 0) return rows - 3
    if (to < 0) return rows - 2
    const [down, across] = [Math.floor(from / size) - Math.floor(to / size), (from % size) - (to % size)]
    return (down + size - 1) * side + across + size - 1
  })
}
/** [1, heads, cells + 1, cells + 1] */
export function gridBias(at: Scope, heads: number, size: number): Value {
  const { g } = at
  const table = at.parameter('relative_position_bias_table', [(2 * size - 1) ** 2 + 3, heads])
  const tokens = size * size + 1
  return at.run(() => {
    const perPair = g.gather(table, g.constant('int64', gridRows(size), [tokens, tokens]))
    return g.unsqueeze(g.transpose(perPair, [2, 0, 1]), [0])
  })
}

/** Mean over tokens [batch, tokens, width], from the `from`th on. */
export const meanFrom = (g: Builder, hidden: Value, from: number): Value =>
  g.squeeze(g.reduceMean(g.slice(hidden, from, Number.MAX_SAFE_INTEGER, 1), [1]), [1])
