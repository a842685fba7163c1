import { type Builder, type Constant, type Graph, type Node, shapeOf, type Value } from '@graft/onnx'

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
    this.graph.scope = this.scope
    const made = this.graph.record(() => {
      this.current = f(old, this.input ?? old)
    })
    this.graph.scope = ''
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
    this.graph.scope = this.node.scope
    this.graph.setInput(this.node, this.index, f(this.value))
    this.graph.scope = ''
  }
}

/** The constant that a value is, or is cast from: half-precision weights are stored as they are and cast where they are used. */
export function storedConstant(v: Value): Value | undefined {
  if (v.data) return v
  return v.producer?.op === 'Cast' ? storedConstant(v.producer.inputs[0] as Value) : undefined
}

/** A parameter as one module uses it. Equal parameters that an exporter stored once are still separate slots. */
export class WeightSlot {
  constructor(
    private readonly g: Builder,
    private readonly node: Node,
    private readonly index: number,
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
  /** Replaces the frozen parameter by other values, in the file's orientation. */
  set(values: Float32Array): void {
    const shape = this.stored.shape as readonly number[]
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    this.g.graph.setInput(this.node, this.index, this.g.graph.addConstant(this.stored.name, { dtype: 'float32', shape, data: { bytes } }))
  }
  /** Adds to the parameter; cheaper than a map where the file holds it transposed. */
  add(delta: Value): void {
    this.g.graph.scope = this.node.scope
    this.g.graph.setInput(this.node, this.index, this.g.add(this.stored, this.asStored(delta)))
    this.g.graph.scope = ''
  }
  /** Replaces the parameter w (as torch holds it) by f(w). */
  map(f: (w: Value) => Value): void {
    this.g.graph.scope = this.node.scope
    this.g.graph.setInput(this.node, this.index, this.asStored(f(this.value)))
    this.g.graph.scope = ''
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
export interface NormSite {
  kind: 'norm'
  path: string
  node: Node
  weight: WeightSlot
  bias?: WeightSlot
}
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
  key: ValueSlot
  value: ValueSlot
}
export type Site = LinearSite | EmbeddingSite | NormSite | ConvSite
