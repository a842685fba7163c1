import type { Builder, Value } from '@graft-peft/onnx'

/** Activations of methods' own networks, any shape to the same, by transformers' names (ACT2FN). */
export const activations = {
  relu: (g: Builder, x: Value) => g.relu(x),
  gelu: (g: Builder, x: Value) => g.op('Gelu', [x]),
  gelu_new: (g: Builder, x: Value) => g.op('Gelu', [x], { approximate: 'tanh' }),
  silu: (g: Builder, x: Value) => g.mul(x, g.sigmoid(x)),
  swish: (g: Builder, x: Value) => g.mul(x, g.sigmoid(x)),
  tanh: (g: Builder, x: Value) => g.tanh(x),
  sigmoid: (g: Builder, x: Value) => g.sigmoid(x),
}
