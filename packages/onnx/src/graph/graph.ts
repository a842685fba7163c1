import { printShape, type Shape } from './dim.js'
import { computedAgain } from './again.js'
import { GraftError } from './errors.js'
import { ops } from './ops/index.js'
import type { NodeOptions } from './node-options.js'
import { producersFirst } from './order.js'
import { OpView, type Typed } from './ops/spec.js'
import type { Attribute, Constant, DType, Known, Node, Value } from './types.js'

/** A mutable dataflow graph. Every node is typed as it is added, so an illegal graph can't be built. */
export class Graph {
  readonly inputs: Value[] = []
  readonly outputs: Value[] = []
  readonly nodes = new Set<Node>()
  private path = ''
  private readonly names = new Set<string>()
  private serial = 0
  private recording?: Set<Node>

  /** The module path given to nodes as they are made. */
  get scope(): string {
    return this.path
  }
  /** Runs `build` with this module path on the nodes it makes; the path before it comes back, also after a throw. */
  within<T>(path: string, build: () => T): T {
    const outer = this.path
    this.path = path
    try {
      return build()
    } finally {
      this.path = outer
    }
  }

  fresh(hint: string): string {
    let name = hint
    while (this.names.has(name) || name === '') name = `${hint}_${++this.serial}`
    this.names.add(name)
    return name
  }

  addInput(name: string, dtype: DType, shape: Shape): Value {
    const value = this.value(name, { dtype, shape })
    this.inputs.push(value)
    return value
  }

  addConstant(hint: string, constant: Constant, known?: Known): Value {
    const value = this.value(hint, { dtype: constant.dtype, shape: constant.shape, known })
    value.data = constant.data
    return value
  }

  /** Adds a node and types its outputs. Throws ILLEGAL_NODE when the operator's rule refuses its inputs. */
  addNode(
    op: string,
    inputs: (Value | null)[],
    attributes: Record<string, Attribute> = {},
    options: NodeOptions = {},
  ): Node {
    const scope = options.scope ?? this.scope
    const name = this.fresh(options.name ?? `${scope ? `${scope}/` : ''}${op.replace('::', '.')}`)
    const names =
      options.outputs ??
      Array.from({ length: options.count ?? 1 }, (_, i) => (i === 0 ? `${name}:y` : `${name}:y${i}`))
    const typed = this.type(op, inputs, attributes, names, name, options.declared)
    const node: Node = { op, name, inputs, outputs: [], attributes, scope, captures: options.captures }
    node.outputs = names.map((n, i) => (n === null ? null : this.value(n, typed[i])))
    for (const v of node.outputs) if (v) v.producer = node
    for (const v of [...inputs, ...(options.captures ?? [])]) v?.users.add(node)
    this.nodes.add(node)
    this.recording?.add(node)
    return node
  }

  /** The nodes that `build` adds. */
  record(build: () => void): Set<Node> {
    const outer = this.recording
    const own = new Set<Node>()
    this.recording = own
    try {
      build()
    } finally {
      this.recording = outer
      for (const node of own) outer?.add(node)
    }
    return own
  }

  /** Output i of a node, asked for after the node was made: optional outputs appear when someone needs them. */
  output(node: Node, i: number): Value {
    const found = node.outputs[i]
    if (found) return found
    const names = Array.from(
      { length: Math.max(i + 1, node.outputs.length) },
      (_, j) => node.outputs[j]?.name ?? (j === i ? 'needed' : null),
    )
    const typed = this.type(node.op, node.inputs, node.attributes, names, node.name)
    while (node.outputs.length < i) node.outputs.push(null)
    const value = this.value(`${node.name}:y${i}`, typed[i])
    value.producer = node
    node.outputs[i] = value
    return value
  }

  /** Gives a value the name it is known by outside; whichever value had that name gets another. */
  rename(value: Value, name: string): void {
    if (value.name === name) return
    this.release(name)
    value.name = this.fresh(name)
  }
  /** Frees a name: whichever value had it gets another. */
  release(name: string): void {
    if (!this.names.has(name)) return
    for (const node of this.nodes)
      for (const v of node.outputs) if (v?.name === name) v.name = this.fresh(`${name}_inner`)
    this.names.delete(name)
  }

  /** Repoints input i of a node. */
  setInput(node: Node, i: number, value: Value | null): void {
    const old = node.inputs[i]
    node.inputs[i] = value
    if (old && !node.inputs.includes(old) && !node.captures?.includes(old)) old.users.delete(node)
    value?.users.add(node)
  }

  /** Makes every user of `old` (but `except`) read `next`; as a graph output it takes the old name. */
  replaceUses(old: Value, next: Value, except: ReadonlySet<Node> = new Set()): void {
    for (const user of [...old.users]) {
      if (except.has(user)) continue
      user.inputs.forEach((v, i) => {
        if (v === old) this.setInput(user, i, next)
      })
    }
    this.outputs.forEach((v, i) => {
      if (v !== old) return
      this.outputs[i] = next
      if (next.producer && old.producer) this.rename(next, old.name)
    })
  }

  /** Makes a value the first output of another node, whose own it replaces: all that read the value read what that node makes. */
  giveProducer(value: Value, node: Node): void {
    node.outputs[0] = value
    value.producer = node
  }

  removeNode(node: Node): void {
    this.nodes.delete(node)
    for (const v of [...node.inputs, ...(node.captures ?? [])]) v?.users.delete(node)
  }

  /** Nodes in an order where producers come first; ties keep the order of insertion. */
  sorted(): Node[] {
    return producersFirst(this.nodes)
  }

  /** Gives the nodes another order; producers must still come first. */
  reorder(nodes: readonly Node[]): void {
    this.nodes.clear()
    for (const node of nodes) this.nodes.add(node)
  }

  /** Forgets all nodes, so that their memory can be freed however many values are still held. */
  clear(): void {
    for (const node of this.nodes) {
      for (const v of [...node.inputs, ...(node.captures ?? [])]) v?.users.clear()
      for (const v of node.outputs) if (v) v.producer = undefined
    }
    this.nodes.clear()
  }

  /** The same value, computed once more by nodes of its own: what is done to the first ones doesn't reach it. */
  computedApart(value: Value): Value {
    const above = this.needed([value])
    const again = this.sorted().filter((n) => above.has(n))
    return computedAgain(again, (...node) => this.addNode(...node))(value)
  }

  /** The nodes that some of these values depend on, outputs when left out. */
  needed(values: readonly Value[] = this.outputs): Set<Node> {
    const live = new Set<Node>()
    const pending = values.map((v) => v.producer)
    while (pending.length > 0) {
      const node = pending.pop()
      if (!node || live.has(node)) continue
      live.add(node)
      for (const v of [...node.inputs, ...(node.captures ?? [])]) pending.push(v?.producer)
    }
    return live
  }

  /** Drops nodes that no output depends on. */
  prune(): void {
    const needed = this.needed()
    for (const node of [...this.nodes]) if (!needed.has(node)) this.removeNode(node)
  }

  /** Drops inputs that no node reads: what the outputs don't depend on is no input either. */
  dropUnusedInputs(): void {
    const used = this.inputs.filter((v) => v.users.size > 0)
    this.inputs.splice(0, this.inputs.length, ...used)
  }

  /** Constants that some node or output reads. */
  constants(): Value[] {
    const found = new Set<Value>()
    const see = (v: Value | null) => v?.data && found.add(v)
    for (const node of this.nodes) for (const v of [...node.inputs, ...(node.captures ?? [])]) see(v)
    this.outputs.forEach(see)
    return [...found]
  }

  /** A copy that shares weight bytes; the returned function finds a value's copy. */
  clone(): { graph: Graph; copyOf: (value: Value) => Value; nodeOf: (node: Node) => Node } {
    const graph = new Graph()
    const values = new Map<Value, Value>()
    const nodes = new Map<Node, Node>()
    const copyOf = (v: Value): Value => {
      let copy = values.get(v)
      if (!copy) {
        copy = graph.value(v.name, v)
        copy.data = v.data
        values.set(v, copy)
      }
      return copy
    }
    graph.inputs.push(...this.inputs.map(copyOf))
    for (const node of this.sorted()) nodes.set(node, graph.adopt(node, copyOf))
    graph.outputs.push(...this.outputs.map(copyOf))
    return { graph, copyOf, nodeOf: (n) => nodes.get(n) as Node }
  }

  private adopt(node: Node, copyOf: (v: Value) => Value): Node {
    const copies = (list: (Value | null)[]) => list.map((v) => v && copyOf(v))
    const copy: Node = {
      ...node,
      inputs: copies(node.inputs),
      outputs: copies(node.outputs),
      captures: node.captures?.map(copyOf),
    }
    this.names.add(node.name)
    for (const v of copy.outputs) if (v) v.producer = copy
    for (const v of [...copy.inputs, ...(copy.captures ?? [])]) v?.users.add(copy)
    this.nodes.add(copy)
    return copy
  }

  private value(hint: string, type: Typed): Value {
    return {
      name: this.fresh(hint),
      dtype: type.dtype,
      shape: type.shape,
      known: type.known,
      users: new Set(),
    }
  }

  private type(
    op: string,
    inputs: (Value | null)[],
    attributes: Record<string, Attribute>,
    names: (string | null)[],
    where: string,
    declared?: ReadonlyMap<string, Typed>,
  ): Typed[] {
    const spec = ops[op]
    if (!spec) return names.map((n) => declared?.get(n ?? '') ?? { dtype: 'float32', shape: null })
    const view = new OpView(op, inputs, attributes, names.length, where)
    const [least, most] = spec.arity
    if (inputs.length < least || inputs.length > most)
      throw view.illegal(`takes ${least} to ${most} inputs, got ${inputs.length}`)
    const typed = spec.infer(view)
    // An attribute that names an axis beyond the rank leaves a hole.
    if (typed.some(({ shape }) => shape?.includes(undefined as never)))
      throw view.illegal('its attributes or inputs name an axis that is not there')
    if (typed.length < names.length)
      throw view.illegal(`makes ${typed.length} outputs, ${names.length} asked for`)
    return typed.map((t, i) => (t.shape ? t : { ...t, shape: declared?.get(names[i] ?? '')?.shape ?? null }))
  }
}

/** The shape of a value, or an error that names who should have typed it. */
export function shapeOf(value: Value): Shape {
  if (value.shape) return value.shape
  const maker = value.producer ? `operator ${value.producer.op} at ${value.producer.name}` : 'its declaration'
  throw new GraftError(
    'UNKNOWN_SHAPE',
    `The shape of ${value.name} is not known: ${maker} has no shape rule. Export the model without that operator, or add a rule for it.`,
  )
}
export const describe = (v: Value): string => `${v.name}: ${v.dtype}${v.shape ? printShape(v.shape) : '[?]'}`
