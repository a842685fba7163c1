import type { Builder } from '../graph/builder.js'
import { type Dim, type Shape, sameShape } from '../graph/dim.js'
import { shapeOf } from '../graph/graph.js'
import { type Attribute, intAttribute, intsAttribute, type Node, type Value } from '../graph/types.js'

/** What a gradient rule sees: inputs x, outputs y, the upstream gradient dy of the first output (dys: of each), and the builders. */
export class RuleContext {
  readonly x: Value[]
  readonly y: Value[]
  readonly dy: Value
  constructor(
    readonly node: Node,
    readonly dys: readonly (Value | undefined)[],
    readonly g: Builder,
  ) {
    this.x = node.inputs as Value[]
    this.y = node.outputs as Value[]
    this.dy = dys[0] as Value
  }
  int = (name: string, otherwise: number): number => intAttribute(this.node, name, otherwise)
  ints = (name: string): readonly number[] | undefined => intsAttribute(this.node, name)
  attribute = (name: string): Attribute | undefined => this.node.attributes[name]
  shape = (i: number): Shape => shapeOf(this.x[i])
  axis = (otherwise: number, rank: number): number => {
    const axis = this.int('axis', otherwise)
    return axis < 0 ? axis + rank : axis
  }
}

/** One thunk per input, called only when that input's gradient is needed; null: not differentiable by nature.
 *  A thunk may return any shape that broadcasts to, or was broadcast from, its input: the walker conforms it. */
export type GradientRule = (c: RuleContext) => readonly ((() => Value) | null)[]
export type GradientTable = Record<string, GradientRule>

/** Brings a gradient to the shape of the value it belongs to: sums what was broadcast, expands what was reduced. */
export function conform(g: Builder, gradient: Value, target: Value): Value {
  const [from, to] = [shapeOf(gradient), shapeOf(target)]
  if (sameShape(from, to)) return gradient
  const extra = from.length - to.length
  if (extra < 0) return conform(g, g.reshape(gradient, [...Array<Dim>(-extra).fill(1), ...from]), target)
  const summed = to.flatMap((d, i) => (d === 1 && from[i + extra] !== 1 ? [i + extra] : []))
  const axes = [...Array.from({ length: extra }, (_, i) => i), ...summed]
  const reduced = axes.length > 0 ? g.reduceSum(gradient, axes) : gradient
  const squeezed =
    extra > 0
      ? g.squeeze(
          reduced,
          Array.from({ length: extra }, (_, i) => i),
        )
      : reduced
  return expandTo(g, squeezed, target)
}

function expandTo(g: Builder, gradient: Value, target: Value): Value {
  const [from, to] = [shapeOf(gradient), shapeOf(target)]
  if (sameShape(from, to)) return gradient
  if (from.every((d, i) => d === to[i] || d === 1)) return g.expand(gradient, to)
  return reduceAtRunTime(g, gradient, target)
}

/** Two symbols that can't be told apart before run time: sums the axes along which the target turns out to have size 1. */
function reduceAtRunTime(g: Builder, gradient: Value, target: Value): Value {
  const have = g.op('Shape', [gradient])
  const want = g.op('Shape', [target])
  const differs = g.not(g.equal(have, want))
  const axes = g.reshape(g.op('NonZero', [differs]), [-1])
  return g.op('Reshape', [g.reduceSum(gradient, axes), want])
}
