import { type Dim, type Shape, termsOf } from './dim.js'
import { GraftError } from './errors.js'
import { type Graph, shapeOf } from './graph.js'
import { type Attribute, type DType, dtypes, type Known, type Value } from './types.js'

const arrays: Partial<Record<DType, (values: readonly number[]) => ArrayBufferView>> = {
  float32: (v) => Float32Array.from(v),
  float64: (v) => Float64Array.from(v),
  int64: (v) => BigInt64Array.from(v, BigInt),
  int32: (v) => Int32Array.from(v),
  uint32: (v) => Uint32Array.from(v),
  uint8: (v) => Uint8Array.from(v),
  bool: (v) => Uint8Array.from(v),
}

/** The typed builders `g.*`: each adds one node (or the fewest that say it) and returns its output. */
export class Builder {
  private readonly constants = new Map<string, Value>()
  constructor(readonly graph: Graph) {}

  op(op: string, inputs: (Value | null)[], attributes: Record<string, Attribute> = {}): Value {
    return this.graph.addNode(op, inputs, attributes).outputs[0] as Value
  }
  ops(op: string, inputs: (Value | null)[], attributes: Record<string, Attribute>, count: number): Value[] {
    return this.graph.addNode(op, inputs, attributes, { count }).outputs as Value[]
  }

  /** A small constant; equal ones are shared. `shape` defaults to a vector. */
  constant(dtype: DType, values: readonly number[], shape: readonly number[] = [values.length]): Value {
    const key = `${dtype}|${shape}|${values}`
    const found = this.constants.get(key)
    if (found) return found
    const make = arrays[dtype]
    if (!make)
      throw new GraftError(
        'ILLEGAL_CONSTANT',
        `Constants of type ${dtype} can't be built; use float32 and cast.`,
      )
    const view = make(values)
    const data = { bytes: new Uint8Array(view.buffer, view.byteOffset, view.byteLength) }
    const known: Known = dtype === 'bool' ? values.map(Boolean) : values
    const value = this.graph.addConstant(
      'constant',
      { dtype, shape, data },
      shape.length <= 1 ? known : undefined,
    )
    this.constants.set(key, value)
    return value
  }
  /** The identity matrix, n × n. */
  identity = (n: number): Value =>
    this.constant(
      'float32',
      Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
      [n, n],
    )
  ints = (values: readonly number[]): Value => this.constant('int64', values)
  int = (value: number): Value => this.constant('int64', [value], [])
  /** A scalar of the same float type as `like`. */
  scalar(value: number, like: Value | DType = 'float32'): Value {
    const dtype = typeof like === 'string' ? like : like.dtype
    if (dtype === 'float16' || dtype === 'bfloat16')
      return this.cast(this.constant('float32', [value], []), dtype)
    return this.constant(dtype, [value], [])
  }

  add = (a: Value, b: Value): Value => this.op('Add', [a, b])
  sub = (a: Value, b: Value): Value => this.op('Sub', [a, b])
  mul = (a: Value, b: Value): Value => this.op('Mul', [a, b])
  div = (a: Value, b: Value): Value => this.op('Div', [a, b])
  pow = (a: Value, b: Value): Value => this.op('Pow', [a, b])
  neg = (a: Value): Value => this.op('Neg', [a])
  square = (a: Value): Value => this.op('Mul', [a, a])
  sqrt = (a: Value): Value => this.op('Sqrt', [a])
  reciprocal = (a: Value): Value => this.op('Reciprocal', [a])
  exp = (a: Value): Value => this.op('Exp', [a])
  log = (a: Value): Value => this.op('Log', [a])
  tanh = (a: Value): Value => this.op('Tanh', [a])
  sigmoid = (a: Value): Value => this.op('Sigmoid', [a])
  relu = (a: Value): Value => this.op('Relu', [a])
  sign = (a: Value): Value => this.op('Sign', [a])
  abs = (a: Value): Value => this.op('Abs', [a])
  /** a scaled by a number; scaling by one adds no node. */
  scale = (a: Value, factor: number): Value => (factor === 1 ? a : this.mul(a, this.scalar(factor, a)))
  where = (condition: Value, a: Value, b: Value): Value => this.op('Where', [condition, a, b])
  equal = (a: Value, b: Value): Value => this.op('Equal', [a, b])
  less = (a: Value, b: Value): Value => this.op('Less', [a, b])
  lessOrEqual = (a: Value, b: Value): Value => this.op('LessOrEqual', [a, b])
  greater = (a: Value, b: Value): Value => this.op('Greater', [a, b])
  not = (a: Value): Value => this.op('Not', [a])
  cast = (a: Value, to: DType): Value => (a.dtype === to ? a : this.op('Cast', [a], { to: dtypes[to].code }))
  /** Passes the value on and lets no gradient back. */
  stopGradient = (a: Value): Value => this.op('graft::StopGradient', [a])

  /** a·b, either operand transposed in its last two dimensions without being copied. */
  matMul(a: Value, b: Value, { transA = false, transB = false, alpha = 1 } = {}): Value {
    if (!transA && !transB && alpha === 1) return this.op('MatMul', [a, b])
    if (a.dtype === 'float64')
      return this.scale(
        this.op('MatMul', [transA ? this.swapLast(a) : a, transB ? this.swapLast(b) : b]),
        alpha,
      )
    return this.op('com.microsoft::FusedMatMul', [a, b], {
      transA: Number(transA),
      transB: Number(transB),
      alpha,
    })
  }
  /** x·Wᵀ for a weight stored [out, in], as torch.nn.Linear does. */
  linear = (x: Value, weight: Value): Value => this.matMul(x, weight, { transB: true })
  swapLast(a: Value): Value {
    const rank = shapeOf(a).length
    return this.transpose(a, [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2])
  }
  transpose = (a: Value, perm: readonly number[]): Value => this.op('Transpose', [a], { perm })
  /** [batch, sequence, heads·width] → [batch, heads, sequence, width] */
  splitHeads = (a: Value, heads: number, width: number): Value =>
    this.transpose(this.op('Reshape', [a, this.ints([0, 0, heads, width])]), [0, 2, 1, 3])
  /** [batch, heads, sequence, width] → [batch, sequence, heads·width] */
  joinHeads(a: Value): Value {
    const [, heads, , width] = shapeOf(a)
    const size = Number(heads) * Number(width)
    return this.op('Reshape', [this.transpose(a, [0, 2, 1, 3]), this.ints([0, 0, size])])
  }
  softmax = (a: Value, axis = -1): Value => this.op('Softmax', [a], { axis })

  reduceSum = (a: Value, axes: readonly number[] | Value, keepdims = true): Value =>
    this.reduce('ReduceSum', a, axes, keepdims)
  reduceMean = (a: Value, axes: readonly number[] | Value, keepdims = true): Value =>
    this.reduce('ReduceMean', a, axes, keepdims)
  reduce(op: string, a: Value, axes: readonly number[] | Value, keepdims: boolean): Value {
    const input = Array.isArray(axes) ? this.ints(axes) : (axes as Value)
    return this.op(op, [a, input], { keepdims: Number(keepdims), noop_with_empty_axes: 1 })
  }
  sumAll = (a: Value): Value => this.op('ReduceSum', [a], { keepdims: 0 })

  reshape(a: Value, shape: Shape | Value): Value {
    const target = isShape(shape) ? this.shapeVector(shape, true) : shape
    return this.op('Reshape', [a, target])
  }
  expand = (a: Value, shape: Shape): Value => this.op('Expand', [a, this.shapeVector(shape)])
  unsqueeze = (a: Value, axes: readonly number[]): Value => this.op('Unsqueeze', [a, this.ints(axes)])
  squeeze = (a: Value, axes: readonly number[]): Value => this.op('Squeeze', [a, this.ints(axes)])
  concat = (list: readonly Value[], axis: number): Value =>
    list.length === 1 ? list[0] : this.op('Concat', [...list], { axis })
  split = (a: Value, sizes: readonly number[], axis: number): Value[] =>
    sizes.length === 1 ? [a] : this.ops('Split', [a, this.ints(sizes)], { axis }, sizes.length)
  slice = (a: Value, start: number, end: number, axis: number): Value =>
    this.op('Slice', [a, this.ints([start]), this.ints([end]), this.ints([axis])])
  gather = (a: Value, indices: Value, axis = 0): Value => this.op('Gather', [a, indices], { axis })
  zeros(shape: Shape, dtype: DType = 'float32'): Value {
    return this.expand(this.scalar(0, dtype), shape)
  }
  range = (limit: Value): Value => this.op('Range', [this.int(0), limit, this.int(1)])

  /**
   * A shape as an int64 vector. Symbols are read off the graph's inputs, so no activation is kept alive for its shape.
   * With `forReshape`, a single unknown entry becomes -1 and the vector a constant.
   */
  shapeVector(shape: Shape, forReshape = false): Value {
    const symbolic = shape.filter((d) => typeof d === 'string')
    if (symbolic.length === 0) return this.ints(shape as readonly number[])
    if (forReshape && symbolic.length === 1 && !shape.includes(0))
      return this.ints(shape.map((d) => (typeof d === 'string' ? -1 : d)))
    const key = `shape|${shape}`
    const found = this.constants.get(key)
    if (found) return found
    const vector = this.concat(
      shape.map((d) => this.dim(d)),
      0,
    )
    this.constants.set(key, vector)
    return vector
  }

  /** One dimension as an int64 vector of length 1. */
  dim(dim: Dim): Value {
    if (typeof dim === 'number') return this.ints([dim])
    const key = `dim|${dim}`
    const found = this.constants.get(key)
    if (found) return found
    const terms = termsOf(dim).map(({ coefficient, factors }) => {
      const values = factors.map((f) => this.symbol(f, dim))
      const product = values.length > 0 ? values.reduce(this.mul) : this.ints([coefficient])
      return coefficient === 1 || values.length === 0 ? product : this.mul(product, this.ints([coefficient]))
    })
    const value = terms.reduce(this.add)
    this.constants.set(key, value)
    return value
  }

  private symbol(symbol: string, within: Dim): Value {
    for (const input of this.graph.inputs) {
      const axis = input.shape?.indexOf(symbol) ?? -1
      if (axis >= 0) return this.dimensionOf(input, axis)
    }
    for (const node of this.graph.nodes)
      for (const value of node.outputs) {
        const axis = value?.shape?.indexOf(symbol) ?? -1
        if (value && axis >= 0) return this.dimensionOf(value, axis)
      }
    throw new GraftError(
      'UNKNOWN_DIMENSION',
      `Dimension ${symbol} of ${within} is not a dimension of any value of the graph.`,
    )
  }
  private dimensionOf(value: Value, axis: number): Value {
    return this.op('Shape', [value], { start: axis, end: axis + 1 })
  }
}

const isShape = (s: Shape | Value): s is Shape => Array.isArray(s)
