import {
  type Builder,
  type Constant,
  dequantised,
  floatValues,
  type Graph,
  intAttribute,
  type Node,
  numbersOf,
  readBytes,
  shapeOf,
  type Value,
  inputOf,
  outputOf,
} from '@graft-peft/onnx'

/** A named value of the model that a method may replace by a function of itself. Maps stack in the order they are made. */
export class ValueSlot {
  private current: Value
  constructor(
    private readonly graph: Graph,
    readonly scope: string,
    value: Value,
    private readonly input?: Value,
  ) {
    this.current = value
  }
  get value(): Value {
    return this.current
  }
  /** Replaces the value y by f(y, x), where x is the input of the module that made y. */
  map(f: (y: Value, x: Value) => Value): void {
    const old = this.current
    const made = this.graph.record(() => {
      this.current = this.graph.within(this.scope, () => f(old, this.input ?? old))
    })
    if (this.current !== old) this.graph.replaceUses(old, this.current, made)
  }
}

/** What one module reads. */
export class InputSlot {
  constructor(
    private readonly graph: Graph,
    private readonly node: Node,
    private readonly index: number,
  ) {}
  get value(): Value {
    return this.node.inputs[this.index] as Value
  }
  map(f: (x: Value) => Value): void {
    const { graph, node, index } = this
    graph.setInput(
      node,
      index,
      graph.within(node.scope, () => f(this.value)),
    )
  }
}

/** The constant that a value is, or is cast from: half-precision weights are stored as they are and cast where they are used. */
export function storedConstant(v: Value): Value | undefined {
  if (v.data) return v
  return v.producer?.op === 'Cast' ? storedConstant(inputOf(v.producer)) : undefined
}

/** A parameter as one module uses it. Equal parameters that an exporter stored once are still separate slots. */
export class WeightSlot {
  constructor(
    protected readonly g: Builder,
    protected node: Node,
    protected index: number,
    readonly name: string,
    /** stored [in, out] although torch's module holds [out, in] */
    readonly transposed: boolean,
  ) {}
  /** What the node reads now, in the file's orientation. */
  get stored(): Value {
    return this.node.inputs[this.index] as Value
  }
  /** The frozen parameter as stored, or undefined once a method mapped it to something computed. */
  get constant(): Constant | undefined {
    const { data, dtype, shape } = storedConstant(this.stored) ?? {}
    return data && dtype && { data, dtype, shape: shape as readonly number[] }
  }
  /** Whether the module still reads what the file holds. */
  get frozen(): boolean {
    return this.constant !== undefined
  }
  /** The name of what the node reads. */
  get storedName(): string {
    return this.stored.name
  }
  /** Shape as torch's module holds it. */
  get shape(): readonly number[] {
    const shape = shapeOf(this.stored) as readonly number[]
    return this.transposed ? [...shape].reverse() : shape
  }
  /** The same slot in a fork. */
  get key(): string {
    return `${this.node.name}/${this.index}`
  }
  /** What the module reads now, as torch holds it. */
  get value(): Value {
    return this.transposed ? this.g.swapLast(this.stored) : this.stored
  }
  /** A parameter as torch holds it, turned the way the file holds this one. */
  asStored(w: Value): Value {
    return this.transposed ? this.g.swapLast(w) : w
  }
  /** x·Wᵀ, W read as it is stored. */
  applyTo(x: Value): Value {
    return this.transposed ? this.g.matMul(x, this.stored) : this.g.linear(x, this.stored)
  }
  /** Reads the parameter that is frozen now, in the file's orientation, into a buffer of its own; undefined where it is computed or not of floats. */
  reader(): () => Float32Array | undefined {
    const { constant } = this
    return () => constant && floatValues(constant)
  }
  /** Replaces the frozen parameter by other values, in the file's orientation. */
  set(values: Float32Array): void {
    const shape = this.stored.shape as readonly number[]
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    this.g.graph.setInput(
      this.node,
      this.index,
      this.g.graph.addConstant(this.stored.name, { dtype: 'float32', shape, data: { bytes } }),
    )
  }
  /** Adds to the parameter; cheaper than a map where the file holds it transposed. */
  add(delta: Value): void {
    this.replace(() => this.g.add(this.stored, this.asStored(delta)))
  }
  /** Replaces the parameter w (as torch holds it) by f(w). */
  map(f: (w: Value) => Value): void {
    this.replace(() => this.asStored(f(this.value)))
  }
  private replace(build: () => Value): void {
    const { graph } = this.g
    graph.setInput(this.node, this.index, graph.within(this.node.scope, build))
  }
}

/** A weight kept in blocks of 4 bits. Who maps it gets it dequantised in the graph; the bytes stay as they are. */
export class QuantisedSlot extends WeightSlot {
  private expanded = false
  constructor(g: Builder, node: Node, name: string) {
    super(g, node, 1, name, false)
  }
  override get constant(): Constant | undefined {
    return this.expanded ? super.constant : undefined
  }
  override get frozen(): boolean {
    return !this.expanded
  }
  override get storedName(): string {
    return this.node.inputs[1]?.name ?? ''
  }
  override get shape(): readonly number[] {
    return this.expanded ? super.shape : [intAttribute(this.node, 'N', 0), intAttribute(this.node, 'K', 0)]
  }
  override get stored(): Value {
    if (!this.expanded) this.expand()
    return super.stored
  }
  override applyTo(x: Value): Value {
    if (this.expanded) return super.applyTo(x)
    return this.g.op(this.node.op, [x, ...this.node.inputs.slice(1)], this.node.attributes)
  }
  /** W = (q − z)·s, block by block. */
  override reader(): () => Float32Array | undefined {
    if (this.expanded) return super.reader()
    const { node } = this
    return () => this.dequantise(node)
  }
  private dequantise({ attributes, inputs: [, packed, scales, zeros] }: Node): Float32Array | undefined {
    const [n, k, size] = ['N', 'K', 'block_size'].map((name) => intAttribute({ attributes }, name, 32))
    const factors =
      scales?.data && numbersOf({ dtype: 'float32', shape: [n * (k / size)], data: scales.data })
    if (!packed?.data || !factors || zeros) return undefined
    const bytes = readBytes(packed.data)
    return Float32Array.from(
      { length: n * k },
      (_, i) => (((bytes[i >> 1] >> (4 * (i & 1))) & 15) - 8) * factors[Math.floor(i / size)],
    )
  }
  /** Puts a plain product with the dequantised weight in the node's place. */
  private expand(): void {
    const { node, g } = this
    const made = g.graph.record(() =>
      g.graph.within(node.scope, () => g.linear(inputOf(node), dequantised(g, node))),
    )
    const product = [...made].at(-1) as Node
    const bias = node.inputs[5]
    const result = bias ? g.add(outputOf(product), bias) : outputOf(product)
    g.graph.replaceUses(outputOf(node), result)
    g.graph.removeNode(node)
    this.node = product
    this.index = 1
    this.expanded = true
  }
}

/** A linear layer: y = x·Wᵀ + b, however the exporter stored it. */
export interface LinearSite {
  kind: 'linear'
  path: string
  inFeatures: number
  outFeatures: number
  node: Node
  /** x, what the layer reads; its map changes what this layer reads, no other */
  input: InputSlot
  weight: WeightSlot
  bias?: WeightSlot
  /** y; its map also receives the layer's input x */
  output: ValueSlot
}
/** A table of embeddings: [rows, width], looked up by token or position. */
export interface EmbeddingSite {
  kind: 'embedding'
  path: string
  rows: number
  width: number
  node: Node
  weight: WeightSlot
  /** rows of the table, one per token */
  output: ValueSlot
  /** what the module gives: the same, scaled where the module scales (Gemma) */
  result: ValueSlot
}
/** A normalisation, with its learned scale and shift. */
export interface NormSite {
  kind: 'norm'
  path: string
  node: Node
  weight: WeightSlot
  bias?: WeightSlot
}
/** A convolution. */
export interface ConvSite {
  kind: 'conv'
  path: string
  node: Node
  input: InputSlot
  /** y, bias included; its map also receives x */
  output: ValueSlot
  weight: WeightSlot
  bias?: WeightSlot
}
/** One layer's attention: keys and values as a cache holds them, before grouped heads are repeated, in whichever order of axes the graph has. */
export interface AttentionSite {
  path: string
  /** key and value heads, fewer than query heads where queries share them */
  heads: number
  headWidth: number
  /** queries as they meet the keys, before they are scaled; more heads than keys where those are shared */
  query: Value
  key: ValueSlot
  value: ValueSlot
}
/** A module that methods may adapt; `kind` says which. */
export type Site = LinearSite | EmbeddingSite | NormSite | ConvSite
