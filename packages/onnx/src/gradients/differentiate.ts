import { Builder } from '../graph/builder.js'
import { sameShape } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import { type Graph, shapeOf } from '../graph/graph.js'
import { isFloat, type Node, type Value, inputOf, outputOf } from '../graph/types.js'
import { conform, RuleContext } from './rule.js'
import { gradientRules, nonDifferentiable } from './table.js'

/** Partial derivatives a value already comes with: value → (what it depends on → ∂value/∂that). Scalars only. */
export type Partials = ReadonlyMap<Value, ReadonlyMap<Value, Value>>

/**
 * Adds to the graph the gradients of a scalar loss with respect to `wrt`, by reverse mode; zero where the loss doesn't depend.
 * Only nodes between `wrt` and the loss are walked. `partials` says where a value's derivatives are known already: the walk
 * goes through them instead of through the value's own nodes.
 * Throws NO_GRADIENT_RULE naming operator, node and module path.
 */
export function differentiate(
  builder: Builder,
  loss: Value,
  wrt: readonly Value[],
  partials: Partials = new Map(),
): Value[] {
  const walk = new Walk(builder, loss, wrt, partials)
  return walk.run()
}

class Walk {
  private readonly graph: Graph
  private readonly gradients = new Map<Value, Value>()
  /** values on a path from a parameter to the loss */
  private readonly between: Set<Value>

  constructor(
    private readonly g: Builder,
    private readonly loss: Value,
    private readonly wrt: readonly Value[],
    private readonly partials: Partials,
  ) {
    this.graph = g.graph
    this.between = this.path()
  }

  run(): Value[] {
    const order = this.graph.sorted().reverse()
    this.add(this.loss, this.g.scalar(1, this.loss))
    for (const node of order) this.step(node)
    return this.wrt.map((v) => this.gradients.get(v) ?? this.g.zeros(shapeOf(v), v.dtype))
  }

  /** Values that depend on `wrt`, in one sweep over the sorted graph. */
  private path(): Set<Value> {
    const reached = new Set(this.wrt)
    for (const node of this.graph.sorted()) {
      const sources = this.partialsOf(node)?.keys() ?? node.inputs
      if (nonDifferentiable.has(node.op) || ![...sources].some((v) => v && reached.has(v))) continue
      for (const v of node.outputs) if (v && isFloat(v.dtype)) reached.add(v)
    }
    return reached
  }

  private partialsOf(node: Node): ReadonlyMap<Value, Value> | undefined {
    const value = node.outputs.find((v) => v && this.partials.has(v))
    return value ? this.partials.get(value) : undefined
  }
  private throughPartials(dy: Value, known: ReadonlyMap<Value, Value>): void {
    for (const [x, partial] of known) {
      if (!this.between.has(x)) continue
      const isOne = dy.known?.[0] === 1
      this.add(x, isOne ? partial : this.g.mul(dy, partial))
    }
  }

  private step(node: Node): void {
    const dys = node.outputs.map((v) => (v ? this.gradients.get(v) : undefined))
    const known = this.partialsOf(node)
    if (known) return dys[0] && this.throughPartials(dys[0], known)
    const wanted = node.inputs.map((v) => v !== null && isFloat(v.dtype) && this.between.has(v))
    if (dys.every((d) => d === undefined) || !wanted.some(Boolean) || nonDifferentiable.has(node.op)) return
    const rule = gradientRules[node.op]
    if (!rule) throw missingRule(node)
    this.graph.within(node.scope ? `${node.scope}/backward` : 'backward', () => {
      if (dys[0] === undefined) dys[0] = this.g.zeros(shapeOf(outputOf(node)), outputOf(node).dtype)
      const thunks = rule(new RuleContext(node, dys, this.g))
      node.inputs.forEach((v, i) => {
        const thunk = wanted[i] ? thunks[i] : null
        if (v && thunk) this.add(v, thunk())
      })
    })
  }

  private add(value: Value, contribution: Value): void {
    const gradient = conform(this.g, contribution, value)
    const sum = this.gradients.get(value)
    this.gradients.set(value, sum ? added(this.g, sum, gradient) : gradient)
    const total = shapeOf(this.gradients.get(value) as Value)
    if (!sameShape(total, shapeOf(value)))
      throw new GraftError(
        'GRADIENT_SHAPE',
        `The gradient of ${value.name} has shape [${total}], the value [${shapeOf(value)}].`,
      )
  }
}

/** a + b; rows scattered over zeros are scattered over the other summand instead, which for a vocabulary's table saves two of them. */
function added(g: Builder, a: Value, b: Value): Value {
  for (const [scattered, other] of [
    [b, a],
    [a, b],
  ]) {
    const { producer } = scattered
    if (
      producer?.op !== 'ScatterND' ||
      producer.attributes.reduction !== 'add' ||
      scattered.users.size > 0 ||
      !isZeros(inputOf(producer))
    )
      continue
    return g.op('ScatterND', [other, producer.inputs[1], producer.inputs[2]], producer.attributes)
  }
  return g.add(a, b)
}
const isZeros = ({ producer }: Value): boolean =>
  producer?.op === 'Expand' && producer.inputs[0]?.known?.[0] === 0

function missingRule(node: Node): GraftError {
  const path = node.scope ? ` in module ${node.scope}` : ''
  return new GraftError(
    'NO_GRADIENT_RULE',
    `Operator ${node.op} at node ${node.name}${path} has no gradient rule, and a trainable parameter reaches the loss only through it. ` +
      'Target modules above it, export the model without that operator, or add a rule to the gradient table of @graft-peft/onnx.',
  )
}
