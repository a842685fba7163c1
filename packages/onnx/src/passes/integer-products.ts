import { Builder } from '../graph/builder.js'
import { is } from '../graph/ops/traits.js'
import { type Graph, shapeOf } from '../graph/graph.js'
import { type Constant, intAttribute, isFloat, type Node, outputOf, type Value } from '../graph/types.js'
import { replaceNodes } from '../lower/replace.js'

/** A product of activations with a frozen matrix. */
export interface FrozenProduct {
  /** the matrix's name, with its module's path where it doesn't begin so, and the direction where that is backward */
  name: string
  /** [..., K] */
  x: Value
  /** the matrix as it is stored: [K, N], or [N, K] where it is read `turned` */
  weight: Constant
  turned: boolean
}
/** A frozen matrix [K, N] in 8 bits: w[k, n] ≈ numbers[k, n] · scales[n]. */
export interface NarrowWeight {
  numbers: Constant
  scales: Constant
  /** [K]: what each column of the activations is multiplied by beforehand, and the matrix's rows were divided by */
  smoothing?: Constant
}
export interface IntegerOptions {
  /** the greatest magnitude that activations come to; what stands for zero is one more */
  levels: number
  /** A product's matrix in 8 bits; undefined where it is to stay in float32. */
  narrow(product: FrozenProduct): NarrowWeight | undefined
  /** Is shown each product as it is made and its result [..., N] before a bias; gives what is to be read as the result. */
  watch?(g: Builder, product: FrozenProduct, y: Value): Value
}

/** Matrices narrower than this gain nothing. */
const least = 16
/** Multiplications that a factor passes through. */
const furthest = 3
/** A row of zeros has this range. */
const tiny = 1e-30

/**
 * Computes products of activations with frozen matrices in 8-bit integers, forward and backward alike (SwitchBack: Wortsman et al., 2023, arXiv
 * 2304.13013; a frozen base needs no product but those two): each row of the activations is divided by its own range and rounded, once for all products
 * that read it; the matrix has a scale per column of the result. Sums are exact in 32 bits. What is computed of trained values, and products
 * without a row per position, stay as they are. `backward` gets what takes the place of nodes in it.
 */
export function computeInIntegers(
  graph: Graph,
  options: IntegerOptions,
  backward: Set<Node> = new Set(),
): void {
  const pass = new IntegerProducts(options, new Set(graph.outputs))
  const needed = graph.needed()
  replaceNodes(new Builder(graph), (node, g) => {
    if (!needed.has(node)) return undefined
    let made: Value[] | undefined
    const added = graph.record(() => {
      made = pass.lower(node, g)
    })
    if (backward.has(node)) for (const n of added) backward.add(n)
    return made
  })
}

/** The product that a node is, or undefined. */
export function frozenProduct(node: Node): FrozenProduct | undefined {
  if (!is(node.op, 'product') || intAttribute(node, 'transA', 0) === 1) return undefined
  const [x, w] = node.inputs as Value[]
  const stored = storedMatrix(w)
  if (!stored || !x.shape || x.dtype !== 'float32' || !hasRows(x)) return undefined
  return {
    name: nameOf(stored.name, node.scope),
    x,
    weight: stored as Constant,
    turned: intAttribute(node, 'transB', 0) === 1,
  }
}
/** Unique for a matrix and a direction, and says where in the model it is: exporters number what they fold. */
function nameOf(weight: string, scope: string): string {
  const path = scope.replace(/\/?backward$/, '')
  const name = weight.startsWith(path) ? weight : `${path} [${weight}]`
  return path === scope ? name : `${name} (backward)`
}

/** The constant matrix of floats that a value is, or is cast from. */
function storedMatrix({
  data,
  dtype,
  shape,
  producer,
  name,
}: Value): (Constant & { name: string }) | undefined {
  if (!data) return producer?.op === 'Cast' ? storedMatrix(producer.inputs[0] as Value) : undefined
  const sizes = (shape ?? []) as number[]
  return isFloat(dtype) && sizes.length === 2 && Math.min(...sizes) >= least
    ? { data, dtype, shape: sizes, name }
    : undefined
}
/** Whether a value has a row per position of the batch: parameters, and their gradients, have sizes that are all numbers. */
const hasRows = ({ shape }: Value): boolean =>
  shape !== null && shape.length >= 2 && shape.slice(0, -1).some((d) => typeof d === 'string')

/** Activations in 8 bits, a row per position, and what each row is to be multiplied by. */
interface Narrow {
  numbers: Value
  /** [..., 1] */
  scales: Value
}

class IntegerProducts {
  private readonly activations = new Map<Value, Narrow>()
  /** activations multiplied by a vector, by the vector's bytes */
  private readonly smoothed = new Map<Value, Map<Constant['data'], Value>>()
  private readonly zerosOf = new Map<string, Value>()
  /** what rows of a value are yet to be multiplied by */
  private readonly owed = new Map<Value, Value[]>()
  private readonly weights = new Map<NarrowWeight, { numbers: Value; scales: Value }>()

  constructor(
    private readonly options: IntegerOptions,
    private readonly outputs: ReadonlySet<Value>,
  ) {}

  lower(node: Node, g: Builder): Value[] | undefined {
    const product = frozenProduct(node)
    const weight = product && this.options.narrow(product)
    if (!product || !weight) return undefined
    const x = this.activation(g, this.smooth(g, product, weight.smoothing))
    const w = this.weight(g, product, weight)
    const alpha = (node.attributes.alpha as number | undefined) ?? 1
    const whole = g.op('com.microsoft::MatMulIntegerToFloat', [
      x.numbers,
      w.numbers,
      g.scalar(alpha),
      w.scales,
      this.zero(g),
    ])
    const bias = node.inputs[2]
    if (!bias && !this.options.watch && this.defer(outputOf(node), x.scales)) return [whole]
    const made = g.mul(whole, x.scales)
    const y = this.options.watch?.(g, product, made) ?? made
    return [bias ? g.add(y, g.scale(bias, (node.attributes.beta as number | undefined) ?? 1)) : y]
  }

  /**
   * A factor per row passes through multiplications to the next rounding, which divides by each row's range
   * anyway, and is taken up by the scales there: no pass over the result. Whether all that read it are such.
   */
  private defer(y: Value, scales: Value): boolean {
    const rounded = this.roundedBehind(y)
    for (const v of rounded ?? []) this.owed.set(v, [...(this.owed.get(v) ?? []), scales])
    return rounded !== undefined
  }
  /** The values, some multiplications behind one, that are only rounded; undefined where something else reads it. */
  private roundedBehind(y: Value, steps = 0): Value[] | undefined {
    const users = [...y.users]
    if (users.length === 0 || this.outputs.has(y)) return undefined
    if (users.every((node) => this.rounds(node, y))) return steps > 0 ? [y] : undefined
    if (steps === furthest) return undefined
    const found = users.map((node) =>
      node.op === 'Mul' && node.inputs[0] !== node.inputs[1] && `${outputOf(node).shape}` === `${y.shape}`
        ? this.roundedBehind(outputOf(node), steps + 1)
        : undefined,
    )
    return found.includes(undefined) ? undefined : (found.flat() as Value[])
  }
  private rounds(node: Node, x: Value): boolean {
    const product = node.inputs[0] === x && node.inputs[1] !== x ? frozenProduct(node) : undefined
    const weight = product && this.options.narrow(product)
    return !!weight && !weight.smoothing
  }

  /** What stands for zero: ONNX Runtime multiplies unsigned activations with signed weights fastest by far. */
  private zero = (g: Builder): Value => g.constant('uint8', [this.options.levels + 1], [])

  private smooth(g: Builder, { x, name }: FrozenProduct, smoothing?: Constant): Value {
    if (!smoothing) return x
    const found = this.smoothed.get(x) ?? new Map<Constant['data'], Value>()
    const made = found.get(smoothing.data) ?? g.mul(x, g.graph.addConstant(`${name}.smoothing`, smoothing))
    this.smoothed.set(x, found.set(smoothing.data, made))
    return made
  }

  private activation(g: Builder, x: Value): Narrow {
    const found = this.activations.get(x)
    if (found) return found
    const width = shapeOf(x).at(-1) as number
    const range = g.op('Max', [
      g.reduce('ReduceMax', x, [-1], true),
      g.neg(g.reduce('ReduceMin', x, [-1], true)),
      g.scalar(tiny),
    ])
    const scales = g.scale(range, 1 / this.options.levels)
    // Blocks as wide as a row: one range each.
    const numbers = g.op('QuantizeLinear', [x, scales, this.zeros(g, x)], { axis: -1, block_size: width })
    const made = { numbers, scales: (this.owed.get(x) ?? []).reduce(g.mul, scales) }
    this.activations.set(x, made)
    return made
  }
  /** What stands for zero, for each row of x: [..., 1]. */
  private zeros(g: Builder, x: Value): Value {
    const rows = [...shapeOf(x).slice(0, -1), 1]
    const made = this.zerosOf.get(`${rows}`) ?? g.expand(this.zero(g), rows)
    this.zerosOf.set(`${rows}`, made)
    return made
  }

  private weight(g: Builder, { name }: FrozenProduct, weight: NarrowWeight) {
    const found = this.weights.get(weight)
    if (found) return found
    const { numbers, scales } = weight
    const made = {
      numbers: g.graph.addConstant(`${name}.int8`, numbers),
      scales: g.graph.addConstant(`${name}.scales`, scales),
    }
    this.weights.set(weight, made)
    return made
  }
}
