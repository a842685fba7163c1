import { numbersOf } from '../format/tensors.js'
import type { Builder } from '../graph/builder.js'
import { shapeOf } from '../graph/graph.js'
import { dtypes, intAttribute, type Node, type TensorData, type Value, inputOf } from '../graph/types.js'

/** Which inputs carry the numbers themselves (others are shapes, axes, sizes). */
type Operands = readonly number[] | 'all'
const arithmetic: Readonly<Record<string, Operands>> = {
  Add: 'all', Sub: 'all', Mul: 'all', Div: 'all', Mod: 'all', Min: 'all', Max: 'all', Neg: 'all', Abs: 'all', Clip: 'all',
  Where: [1, 2], ReduceSum: [0], ReduceMax: [0], ReduceMin: [0], CumSum: [0],
} // biome-ignore format: a table
const moving: Readonly<Record<string, Operands>> = {
  Reshape: [0], Unsqueeze: [0], Squeeze: [0], Transpose: [0], Slice: [0], Expand: [0], Tile: [0], Gather: [0], GatherElements: [0], GatherND: [0],
  Concat: 'all', Identity: 'all', 'graft::StopGradient': 'all',
} // biome-ignore format: a table
/** Operators that read integers and make something else of them. */
const reading: Readonly<Record<string, Operands>> = {
  Equal: 'all', Less: 'all', LessOrEqual: 'all', Greater: 'all', GreaterOrEqual: 'all', Cast: 'all',
} // biome-ignore format: a table
/** Operators that take positions of either width. */
const indexing: Readonly<Record<string, number>> = { Gather: 1, GatherElements: 1, ScatterElements: 1 }

const positions = (operands: Operands, count: number): readonly number[] =>
  operands === 'all' ? Array.from({ length: count }, (_, i) => i) : operands
const isWide = (v: Value | null | undefined): v is Value => v?.dtype === 'int64'

/** The name of the 32-bit twin of a 64-bit input. */
export const narrowName = (name: string): string => `${name}:int32`

/**
 * Computes integers in 32 bits (positions, tokens and counts fit) instead of 64. Inputs that are computed with get a twin `x:int32`, to be fed the same
 * numbers. Sizes read off shapes, and what is computed of them alone, stay as they are.
 */
export function narrowIntegers(g: Builder): void {
  const narrowing = new Narrowing(g)
  for (const node of g.graph.sorted()) {
    if (node.outputs.every((v) => v && narrowing.ofShapes(v))) continue
    const read = reading[node.op] ?? (isWide(node.outputs[0]) ? undefined : arithmetic[node.op])
    if (read) narrowing.repoint(node, positions(read, node.inputs.length))
    const index = indexing[node.op]
    if (index !== undefined && narrowing.computed(node.inputs[index])) narrowing.repoint(node, [index])
  }
  for (const output of g.graph.outputs) {
    const narrow = isWide(output) ? narrowing.of(output) : undefined
    if (narrow) g.graph.replaceUses(output, narrow)
  }
  g.graph.prune()
  g.graph.dropUnusedInputs()
}

class Narrowing {
  private readonly made = new Map<Value, Value | undefined>()
  private readonly shapes = new Map<Value, boolean>()
  constructor(private readonly g: Builder) {}

  /** Whether a value is arithmetic on shapes alone: small, and at home on the CPU. */
  ofShapes(v: Value): boolean {
    const known = this.shapes.get(v)
    if (known !== undefined) return known
    const node = v.producer
    const own = v.data
      ? v.dtype === 'int64'
      : node?.op === 'Shape' ||
        (!!node &&
          isWide(v) &&
          node.op !== 'Range' &&
          node.inputs.length > 0 &&
          node.inputs.every((x) => !x || this.ofShapes(x)))
    this.shapes.set(v, own)
    return own
  }

  /** Whether a position is computed, not only fed and moved. */
  computed(v: Value | null | undefined): boolean {
    if (v?.dtype === 'int32') return true
    if (!isWide(v) || !v.producer) return false
    const { op, inputs } = v.producer
    if (op in arithmetic || op === 'Range') return true
    if (op === 'Cast') return !isWide(inputs[0])
    const from =
      op in moving ? [...positions(moving[op], inputs.length), ...(op in indexing ? [indexing[op]] : [])] : []
    return from.some((i) => this.computed(inputs[i]))
  }

  /** Makes a node read these inputs in 32 bits: all of them, or none. */
  repoint(node: Node, inputs: readonly number[]): void {
    const wide = inputs.filter((i) => isWide(node.inputs[i]))
    const narrow = wide.map((i) => this.of(inputOf(node, i)))
    if (narrow.every((v) => v !== undefined))
      wide.forEach((i, k) => this.g.graph.setInput(node, i, narrow[k] as Value))
  }

  /** The same numbers in 32 bits, or undefined where they are made by an operator that has no such form. */
  of(v: Value): Value | undefined {
    if (!isWide(v)) return v
    if (!this.made.has(v)) {
      const scope = v.producer?.scope ?? this.g.graph.scope
      this.made.set(
        v,
        this.g.graph.within(scope, () => this.make(v)),
      )
    }
    return this.made.get(v)
  }
  private make(v: Value): Value | undefined {
    const { g } = this
    if (v.data) return this.constant(v)
    if (!v.producer) return g.graph.addInput(narrowName(v.name), 'int32', v.shape ?? [])
    const { op, inputs } = v.producer
    if (this.ofShapes(v) || op === 'Range') return g.cast(v, 'int32')
    if (op === 'ArgMax') return this.argMax(v.producer)
    if (op === 'Cast') return this.again(v.producer, [0], { to: dtypes.int32.code })
    const operands = arithmetic[op] ?? moving[op]
    return operands && this.again(v.producer, positions(operands, inputs.length), v.producer.attributes)
  }
  /** The least position at which the greatest value stands. */
  private argMax({ inputs, attributes }: Node): Value | undefined {
    const { g } = this
    const x = inputs[0] as Value
    const rank = shapeOf(x).length
    const axis = (intAttribute({ attributes }, 'axis', 0) + rank) % rank
    const width = shapeOf(x)[axis]
    if (typeof width !== 'number' || attributes.select_last_index) return undefined
    const places = g.constant(
      'int32',
      Array.from({ length: width }, (_, i) => i),
      shapeOf(x).map((_, i) => (i === axis ? width : 1)),
    )
    const found = g.where(
      g.equal(x, g.reduce('ReduceMax', x, [axis], true)),
      places,
      g.constant('int32', [width], []),
    )
    return g.reduce('ReduceMin', found, [axis], intAttribute({ attributes }, 'keepdims', 1) === 1)
  }
  private constant({ dtype, data, shape }: Value): Value | undefined {
    const numbers = numbersOf({ dtype, shape: shape as number[], data: data as TensorData })
    return numbers?.every((n) => n === (n | 0))
      ? this.g.constant('int32', numbers, shape as number[])
      : undefined
  }
  private again(node: Node, operands: readonly number[], attributes: Node['attributes']): Value | undefined {
    const inputs = node.inputs.map((x, i) => (operands.includes(i) && x ? this.of(x) : x))
    return inputs.includes(undefined as unknown as null)
      ? undefined
      : this.g.op(node.op, inputs as (Value | null)[], attributes)
  }
}
