import { shapeOf, type Value } from '@graft-peft/core'
import type { Activation } from './activations.js'
import { firstToken } from './heads.js'
import type { Scope } from './scope.js'

const tanh: Activation = (g, x) => g.tanh(x)

/** [batch, width]: a new layer and an activation on each text's first token. */
export function pooledFirst(at: Scope, hidden: Value, act = tanh, name = 'dense'): Value {
  const width = shapeOf(hidden)[2] as number
  const dense = at.head(name, firstToken(at.g, hidden), width, width)
  return at.run(() => act(at.g, dense))
}

/** RoBERTa's classification head [batch, labels]: dense, an activation and out_proj on the first token. */
export function firstTokenLabels(at: Scope, hidden: Value, labels: number, act = tanh): Value {
  return at.head('out_proj', pooledFirst(at, hidden, act), shapeOf(hidden)[2] as number, labels)
}

/** What a masked language model's vocabulary reads, [batch, sequence, width]: dense, an activation and a norm. */
export function transformed(
  at: Scope,
  hidden: Value,
  {
    width,
    epsilon,
    act,
    norm = 'LayerNorm',
  }: { width: number; epsilon: number; act: Activation; norm?: string },
): Value {
  const dense = at.linear('dense', hidden, shapeOf(hidden)[2] as number, width)
  const activated = at.run(() => act(at.g, dense))
  return at.layerNorm(norm, activated, width, epsilon)
}
