import { is } from '../graph/ops/traits.js'
import { Builder } from '../graph/builder.js'
import type { Graph } from '../graph/graph.js'
import { type DType, isFloat, type Node, type Value, inputOf, outputOf } from '../graph/types.js'

/** Types a step can compute in. */
export const precisions = ['float32', 'float16', 'bfloat16'] as const
export type Precision = (typeof precisions)[number]

/** Beyond this a number is infinite in float16. */
const greatest = 65504

/**
 * Makes a forward graph compute its products in half precision, and between them what takes either (as torch.autocast does): an operator with one wide
 * operand from the batch, such as a residual sum or a mask, stays wide. Weights, and what is computed of weights and of `held` values alone, are
 * cast where they are used; a weight stored in that precision is read as it lies. Every value keeps its float32 form, made by a cast if someone reads it.
 */
export function computeInHalf(
  graph: Graph,
  precision: Exclude<Precision, 'float32'>,
  held: ReadonlySet<Value>,
): void {
  const pass = new HalfCompute(graph, precision, held)
  for (const node of graph.sorted()) pass.visit(node)
  graph.reorder(graph.sorted())
}

class HalfCompute {
  private readonly g: Builder
  /** half-precision forms made so far */
  private readonly halves = new Map<Value, Value>()
  /** values computed in half precision */
  private readonly native = new Set<Value>()
  private readonly batch = new Map<Value, boolean>()

  constructor(
    private readonly graph: Graph,
    private readonly precision: DType,
    private readonly held: ReadonlySet<Value>,
  ) {
    this.g = new Builder(graph)
  }

  visit(node: Node): void {
    if (this.wanted(node)) this.graph.within(node.scope, () => this.narrow(node))
  }
  private narrow(node: Node): void {
    const { g, graph } = this
    const made = graph.addNode(
      node.op,
      node.inputs.map((v) => v && this.half(v)),
      node.attributes,
      { count: node.outputs.length },
    )
    node.outputs.forEach((wide, i) => {
      if (!wide) return
      const narrow = outputOf(made, i)
      this.halves.set(wide, narrow)
      this.native.add(wide)
      graph.giveProducer(wide, g.cast(narrow, 'float32').producer as Node)
    })
    graph.removeNode(node)
  }

  private wanted({ op, inputs, outputs }: Node): boolean {
    const floats = inputs.filter((v): v is Value => !!v && isFloat(v.dtype))
    if (outputs.some((v) => v?.dtype !== 'float32') || !floats.every((v) => v.dtype === 'float32'))
      return false
    if (is(op, 'contraction')) return floats.some((v) => this.ofBatch(v))
    return (
      is(op, 'follower') &&
      floats.some((v) => this.native.has(v)) &&
      floats.every((v) => this.native.has(v) || this.fits(v))
    )
  }
  /** Weights and the like, but for masks' great numbers. */
  private fits(v: Value): boolean {
    return (
      !this.ofBatch(v) && !(v.known?.some((d) => typeof d === 'number' && Math.abs(d) > greatest) ?? false)
    )
  }

  /** Whether a value depends on the batch, be it on its sizes, and not only on weights and what is held. */
  private ofBatch(v: Value): boolean {
    const known = this.batch.get(v)
    if (known !== undefined) return known
    const own =
      !v.data &&
      !this.held.has(v) &&
      (!v.producer || v.producer.inputs.some((x) => x !== null && this.ofBatch(x)))
    this.batch.set(v, own)
    return own
  }

  private half(v: Value): Value {
    if (!isFloat(v.dtype)) return v
    const found = this.halves.get(v)
    if (found) return found
    const stored = v.producer?.op === 'Cast' ? inputOf(v.producer) : v
    const made = this.g.cast(isFloat(stored.dtype) ? stored : v, this.precision)
    this.halves.set(v, made)
    return made
  }
}
