import type { ArchitectureContext, Value } from '@graft-peft/core'
import type { TextInputs } from './inputs.js'
import type { Scope } from './scope.js'

/** What convolutions over tokens remember: the last rows they saw, as `past_key_values.N.conv` [batch, 1, rows, width]. */
export class ConvolutionCache {
  readonly outputs: Record<string, Value> = {}
  constructor(private readonly c: Pick<ArchitectureContext, 'g' | 'cache'>) {}

  /** x [batch, sequence, width] behind the past, of which `rows` are kept. */
  extend(layer: number, x: Value, rows: number): Value {
    const { g, cache } = this.c
    if (!cache) return x
    const [batch, , width] = x.shape ?? []
    const name = `${layer}.conv`
    const past = g.graph.addInput(`past_key_values.${name}`, 'float32', [batch, 1, 'past_rows', width])
    const all = g.concat([past, g.unsqueeze(x, [1])], 2)
    this.outputs[`present.${name}`] = g.slice(all, -rows, Number.MAX_SAFE_INTEGER, 2)
    return g.squeeze(all, [1])
  }
}

/**
 * A causal convolution of each feature over `taps` tokens of its own text, [batch, sequence, width]: nn.Conv1d with as many groups as
 * features, the last tap on the token itself.
 */
export function causalConvolution(
  at: Scope,
  name: string,
  x: Value,
  { taps, width, bias }: { taps: number; width: number; bias: boolean },
  inputs: TextInputs,
  past: { layer: number; cache: ConvolutionCache },
): Value {
  const { g } = at
  const own = at.in(name)
  const weight = own.parameter('weight', [width, 1, taps])
  const b = bias ? own.parameter('bias', [width]) : undefined
  return own.run(() => {
    const all = past.cache.extend(past.layer, x, taps - 1)
    const texts = all === x ? inputs.mask : undefined
    const padded = before(all, taps - 1)
    const marks = texts && before(g.unsqueeze(g.cast(texts, 'float32'), [-1]), taps - 1)
    const here = texts && g.unsqueeze(g.cast(texts, 'float32'), [-1])
    const sum = Array.from({ length: taps }, (_, back) => {
      const factor = g.squeeze(g.slice(weight, taps - 1 - back, taps - back, 2), [1, 2])
      const row = g.mul(earlier(padded, back), factor)
      const same = marks && here && g.cast(g.equal(earlier(marks, back), here), 'float32')
      return same && back > 0 ? g.mul(row, same) : row
    }).reduce(g.add)
    return b ? g.add(sum, b) : sum
  })

  /** Rows of zeros before the first. */
  function before(y: Value, rows: number): Value {
    const [batch, , features] = y.shape ?? []
    return g.concat([g.zeros([batch, rows, features]), y], 1)
  }
  /** The rows `back` before each of x's own. */
  function earlier(y: Value, back: number): Value {
    const end = back === 0 ? g.ints([Number.MAX_SAFE_INTEGER]) : g.ints([-back])
    const start = all() ? g.sub(g.ints([-back]), inputs.sequence) : g.ints([taps - 1 - back])
    return g.op('Slice', [y, start, end, g.ints([1])])
  }
  function all(): boolean {
    return Object.keys(past.cache.outputs).length > 0
  }
}
