import type { NodeOptions } from './node-options.js'
import type { Attribute, Node, Value } from './types.js'

type Add = (
  op: string,
  inputs: (Value | null)[],
  attributes: Record<string, Attribute>,
  options: NodeOptions,
) => Node

/**
 * Adds nodes once more, producers first; the returned function finds a value's copy. They are typed anew: a size known only
 * once a node has run is another in the copy.
 */
export function computedAgain(nodes: readonly Node[], add: Add): (value: Value) => Value {
  const copies = new Map<Value, Value>()
  const copyOf = (v: Value): Value => copies.get(v) ?? v
  for (const { op, inputs, outputs, attributes, captures, name, scope } of nodes) {
    const copied = inputs.map((v) => v && copyOf(v))
    const copy = add(op, copied, attributes, {
      name,
      scope,
      outputs: outputs.map((v) => v?.name ?? null),
      declared: new Map(outputs.flatMap((v) => (v ? [[v.name, v]] : []))),
      captures: captures?.map(copyOf),
    })
    outputs.forEach((v, i) => v && copies.set(v, copy.outputs[i] as Value))
  }
  return copyOf
}
