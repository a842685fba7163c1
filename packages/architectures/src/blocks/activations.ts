import { type Builder, entryOf, GraftError, type Settings, suggestion, type Value } from '@graft-peft/core'

export type Activation = (g: Builder, x: Value) => Value
const gelus =
  (approximate: 'none' | 'tanh'): Activation =>
  (g, x) =>
    g.op('Gelu', [x], { approximate })
/** GELU by the error function, for models whose config doesn't choose. */
export const gelu = gelus('none')
const quickGelu =
  (alpha: number): Activation =>
  (g, x) =>
    g.op('com.microsoft::QuickGelu', [x], { alpha })

/** transformers' ACT2FN, by the names that config.json uses. */
const activations: Readonly<Record<string, Activation>> = {
  gelu,
  gelu_python: gelu,
  gelu_new: gelus('tanh'),
  gelu_fast: gelus('tanh'),
  gelu_pytorch_tanh: gelus('tanh'),
  gelu_python_tanh: gelus('tanh'),
  quick_gelu: quickGelu(1.702),
  silu: quickGelu(1),
  swish: quickGelu(1),
  relu: (g, x) => g.relu(x),
  relu2: (g, x) => g.square(g.relu(x)),
  tanh: (g, x) => g.tanh(x),
  sigmoid: (g, x) => g.sigmoid(x),
  mish: (g, x) => g.op('Mish', [x]),
}

/** The activation that a key of config.json names. Throws BAD_MODEL_CONFIG listing the names there are. */
export function activation(
  config: Settings,
  keys: string | readonly string[],
  otherwise: string,
): Activation {
  const name = config.text(keys, otherwise)
  const found = entryOf(activations, name)
  if (!found)
    throw new GraftError(
      'BAD_MODEL_CONFIG',
      `${config.file}: ${[keys].flat()[0]}: no activation ${name} here. ${suggestion(name, Object.keys(activations))}`,
    )
  return found
}
