import { activations as common, type Builder, type Value } from '@graft-peft/core'

/** By transformers' names, as AdapterHub's configs have them. */
export const activations = {
  ...common,
  leakyrelu: (g: Builder, x: Value) => g.sub(g.relu(x), g.scale(g.relu(g.neg(x)), 0.01)),
}
export type Activation = keyof typeof activations
