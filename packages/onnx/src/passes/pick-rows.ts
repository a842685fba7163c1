import { is } from '../graph/ops/traits.js'
import type { Builder } from '../graph/builder.js'
import { type Dim, productOf, type Shape, sameShape } from '../graph/dim.js'
import { shapeOf } from '../graph/graph.js'
import { intAttribute, type Node, type Value, inputOf } from '../graph/types.js'

/**
 * Some rows of a value [batch, positions, …], by their numbers in the flattened positions, as [rows, …]. What treats every row alike and is read for these
 * rows alone is computed for them alone: on a decoder's last layer the output projection and the feed-forward part, down to where attention has mixed
 * positions. What was computed of all rows stays for others to read, or dies unread.
 */
export function pickRows(g: Builder, value: Value, rows: Value): Value {
  return new Picking(g, value, rows).of(value)
}

class Picking {
  private readonly picked = new Map<Value, Value>()
  private readonly region = new Set<Node>()
  private readonly leading: Shape
  private readonly count: Dim

  constructor(
    private readonly g: Builder,
    root: Value,
    private readonly rows: Value,
  ) {
    this.leading = shapeOf(root).slice(0, -1)
    this.count = productOf(this.leading)
    const outputs = new Set(g.graph.outputs)
    for (const node of g.graph.sorted().reverse()) {
      const [y] = node.outputs
      const isInside =
        y === root ||
        (!!y && y.users.size > 0 && !outputs.has(y) && [...y.users].every((user) => this.region.has(user)))
      if (isInside && this.isRowwise(node)) this.region.add(node)
    }
  }

  of(v: Value): Value {
    const found = this.picked.get(v)
    if (found) return found
    const { g } = this
    const { producer } = v
    const made = g.graph.within(producer?.scope ?? '', () =>
      producer && this.region.has(producer)
        ? this.again(producer)
        : g.gather(g.reshape(v, [this.count, ...this.trailing(v)]), this.rows),
    )
    this.picked.set(v, made)
    return made
  }

  private again(node: Node): Value {
    if (node.op === 'Reshape') return this.of(inputOf(node))
    const inputs = node.inputs.map((v) => (v && this.hasRows(v) ? this.of(v) : v))
    return this.g.op(
      node.op,
      inputs,
      is(node.op, 'norm') ? { ...node.attributes, axis: -1 } : node.attributes,
    )
  }

  private isRowwise({ op, inputs, outputs, attributes }: Node): boolean {
    const [x, w] = inputs
    const y = outputs[0] as Value
    if (outputs.length > 1 || !this.hasRows(y) || !inputs.every((v) => v === null || v.shape !== null))
      return false
    if (op === 'Reshape')
      return this.hasRows(x as Value) && sameShape(this.trailing(x as Value), this.trailing(y))
    if (is(op, 'product'))
      return (
        this.hasRows(x as Value) &&
        shapeOf(w as Value).length === 2 &&
        !intAttribute({ attributes }, 'transA', 0)
      )
    const rank = this.trailing(y).length
    if (is(op, 'norm'))
      return rank === 1 && [-1, shapeOf(y).length - 1].includes(intAttribute({ attributes }, 'axis', -1))
    return (
      is(op, 'elementwise') &&
      inputs.every(
        (v) => !v || (this.hasRows(v) ? shapeOf(v).length === shapeOf(y).length : shapeOf(v).length <= rank),
      )
    )
  }

  /** Whether a value has a row per position: [batch, positions, …] or [batch·positions, …]. */
  private hasRows({ shape }: Value): boolean {
    return (
      !!shape && (this.begins(shape, this.leading) || this.begins(shape, [this.count])) && shape.length > 1
    )
  }
  private begins = (shape: Shape, leading: Shape): boolean =>
    shape.length >= leading.length && sameShape(shape.slice(0, leading.length), leading)
  private trailing({ shape }: Value): Shape {
    const own = shape as Shape
    return own.slice(this.begins(own, this.leading) ? this.leading.length : 1)
  }
}
