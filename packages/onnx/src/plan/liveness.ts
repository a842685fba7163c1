import type { Graph } from '../graph/graph.js'
import type { Node, Value } from '../graph/types.js'
import { Arena } from './arena.js'
import { executionOrder } from './execution-order.js'
import { type Bindings, bytesOf } from './sizes.js'

/** Outputs that are their first input under another shape: no bytes of their own. */
const views: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity', 'graft::StopGradient'])
/** Operators whose kernel may write over an input of the output's size that nobody reads afterwards. */
const inPlace: ReadonlySet<string> = new Set([
  'Add', 'Sub', 'Mul', 'Div', 'Exp', 'Log', 'Neg', 'Abs', 'Sqrt', 'Reciprocal', 'Sigmoid', 'Tanh', 'Relu', 'Erf', 'Softmax', 'LogSoftmax', 'Clip', 'ScatterND', 'ScatterElements',
  'Sum',
]) // biome-ignore format: a list

export interface MemoryPlan {
  /** greatest sum of bytes of values alive at once, without weights and inputs */
  peak: number
  /** what the arena that they are taken from grows to, holes between them included */
  arena: number
  /** the node during which the peak is reached */
  at: Node
  /** values alive then, largest first */
  alive: { value: Value; bytes: number }[]
}

/** Runs a graph's file order in thought: what is alive when, and how much at most. */
export function planMemory(file: readonly Node[], outputs: Graph['outputs'], bindings: Bindings): MemoryPlan {
  const order = executionOrder(file)
  const life = new Lives(order, outputs, bindings)
  let [peak, at] = [0, order[0]]
  for (const node of order) {
    life.enter(node)
    if (life.total > peak) [peak, at] = [life.total, node]
    life.leave(node)
  }
  const again = new Lives(order, outputs, bindings)
  for (const node of order) {
    again.enter(node)
    if (node === at) break
    again.leave(node)
  }
  const alive = [...again.held].map(([value, bytes]) => ({ value, bytes })).sort((a, b) => b.bytes - a.bytes)
  return { peak, arena: life.arena.touched, at, alive }
}

class Lives {
  total = 0
  /** buffers by the value they were made for */
  readonly held = new Map<Value, number>()
  readonly arena = new Arena()
  private readonly chunks = new Map<Value, ReturnType<Arena['allocate']>>()
  private readonly buffer = new Map<Value, Value>()
  /** reads of each buffer still to come */
  private readonly reads = new Map<Value, number>()

  constructor(
    order: readonly Node[],
    outputs: readonly Value[],
    private readonly bindings: Bindings,
  ) {
    const count = (v: Value | null) => v && this.reads.set(v, (this.reads.get(v) ?? 0) + 1)
    for (const node of order) [...node.inputs, ...(node.captures ?? [])].forEach(count)
    outputs.forEach(count)
  }

  /** A node runs: its outputs come to life. */
  enter(node: Node): void {
    node.outputs.forEach((y, i) => {
      if (!y) return
      const taken = i === 0 ? this.overwritten(node, y) : undefined
      if (taken) {
        this.reads.set(taken, (this.reads.get(taken) ?? 0) + (this.reads.get(y) ?? 0))
        this.buffer.set(y, taken)
        return
      }
      const bytes = bytesOf(y, this.bindings)
      this.held.set(y, bytes)
      this.total += bytes
      this.chunks.set(y, this.arena.allocate(bytes))
    })
  }
  /** The buffer that the output shares with an input. */
  private overwritten(node: Node, y: Value): Value | undefined {
    if (views.has(node.op)) return node.inputs[0]?.producer && this.root(node.inputs[0])
    if (!inPlace.has(node.op)) return undefined
    const free = node.inputs.find((x, i) => i < 2 && x?.producer && this.reads.get(this.root(x)) === 1 && this.held.get(this.root(x)) === bytesOf(y, this.bindings))
    return free ? this.root(free) : undefined
  }
  private root(v: Value): Value {
    return this.buffer.get(v) ?? v
  }

  /** The node is done: what nobody reads any more is freed. */
  leave(node: Node): void {
    for (const v of [...node.inputs, ...(node.captures ?? [])]) if (v?.producer) this.read(this.root(v))
    for (const y of node.outputs) if (y && (this.reads.get(this.root(y)) ?? 0) === 0) this.free(this.root(y))
  }
  private read(root: Value): void {
    const left = (this.reads.get(root) ?? 0) - 1
    this.reads.set(root, left)
    if (left === 0) this.free(root)
  }
  private free(root: Value): void {
    this.total -= this.held.get(root) ?? 0
    this.held.delete(root)
    const chunk = this.chunks.get(root)
    if (chunk) this.arena.free(chunk)
    this.chunks.delete(root)
  }
}
