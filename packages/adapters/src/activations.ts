import type { Builder, Value } from '@graft-peft/core'

/** By transformers' names, as AdapterHub's configs have them. */
export const activations = {
  relu: (g: Builder, x: Value) => g.relu(x),
  gelu: (g: Builder, x: Value) => g.op('Gelu', [x]),
  gelu_new: (g: Builder, x: Value) => g.op('Gelu', [x], { approximate: 'tanh' }),
  leakyrelu: (g: Builder, x: Value) => g.sub(g.relu(x), g.scale(g.relu(g.neg(x)), 0.01)),
  silu: (g: Builder, x: Value) => g.mul(x, g.sigmoid(x)),
  swish: (g: Builder, x: Value) => g.mul(x, g.sigmoid(x)),
  tanh: (g: Builder, x: Value) => g.tanh(x),
  sigmoid: (g: Builder, x: Value) => g.sigmoid(x),
}
export type Activation = keyof typeof activations
