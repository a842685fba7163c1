import { type AttachContext, type Initialiser, uniform, type Value } from '@graft-peft/core'

interface Parts extends Pick<AttachContext, 'g' | 'param'> {
  drop(x: Value, name: string): Value
}
interface Sizes {
  width: number
  hidden: number
  layers: number
}

/** torch.nn.Linear under the encoder: uniform in ±1/√in, as torch starts it. */
function linear({ g, param }: Parts, x: Value, name: string, into: number, out: number): Value {
  const init = uniform(1 / Math.sqrt(into))
  const weight = param(`prompt_encoder.${name}.weight`, { shape: [out, into], init })
  return g.add(g.linear(x, weight), param(`prompt_encoder.${name}.bias`, { shape: [out], init }))
}

/** Three linear layers with ReLU between: HF PEFT's always has two hidden ones. */
export function mlp(parts: Parts, x: Value, { width, hidden }: Sizes): Value {
  const { g } = parts
  const first = g.relu(linear(parts, x, 'mlp_head.0', width, hidden))
  return linear(
    parts,
    g.relu(linear(parts, first, 'mlp_head.2', hidden, hidden)),
    'mlp_head.4',
    hidden,
    width,
  )
}

/** Bidirectional LSTM layers over the virtual tokens, then two linear layers. */
export function lstm(parts: Parts, x: Value, { width, hidden, layers }: Sizes): Value {
  const { g, drop } = parts
  let states = x
  for (let layer = 0; layer < layers; layer++) {
    const into = layer === 0 ? width : 2 * hidden
    const read = layer === 0 ? states : drop(states, `prompt_encoder.lstm_head.${layer}`)
    const directions = ['', '_reverse'].map((suffix) =>
      direction(parts, read, `l${layer}${suffix}`, into, hidden, suffix !== ''),
    )
    states = g.concat(directions, 1)
  }
  return linear(
    parts,
    g.relu(linear(parts, states, 'mlp_head.0', 2 * hidden, 2 * hidden)),
    'mlp_head.2',
    2 * hidden,
    width,
  )
}

/** One direction of a torch.nn.LSTM layer, unrolled: gates in the order input, forget, cell, output. */
function direction(
  { g, param }: Parts,
  x: Value,
  suffix: string,
  into: number,
  hidden: number,
  reverse: boolean,
): Value {
  const init: Initialiser = uniform(1 / Math.sqrt(hidden))
  const own = (name: string, shape: number[]) =>
    param(`prompt_encoder.lstm_head.${name}_${suffix}`, { shape, init })
  const recurrent = own('weight_hh', [4 * hidden, hidden])
  const projected = g.add(
    g.linear(x, own('weight_ih', [4 * hidden, into])),
    g.add(own('bias_ih', [4 * hidden]), own('bias_hh', [4 * hidden])),
  )
  const count = x.shape?.[0] as number
  const order = Array.from({ length: count }, (_, i) => (reverse ? count - 1 - i : i))
  const outputs: Value[] = []
  let [h, c] = [g.zeros([1, hidden]), g.zeros([1, hidden])]
  for (const t of order) {
    const gates = g.split(
      g.add(g.slice(projected, t, t + 1, 0), g.linear(h, recurrent)),
      [hidden, hidden, hidden, hidden],
      1,
    )
    const [input, forget, output] = [gates[0], gates[1], gates[3]].map(g.sigmoid)
    c = g.add(g.mul(forget, c), g.mul(input, g.tanh(gates[2])))
    h = g.mul(output, g.tanh(c))
    outputs[t] = h
  }
  return g.concat(outputs, 0)
}
