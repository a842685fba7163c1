import type { Graph } from '../graph/graph.js'
import type { Node, Value } from '../graph/types.js'
import { Arena } from './arena.js'
import { countReads, inputsOf, shareBuffers } from './buffers.js'
import { executionOrder } from './execution-order.js'
import { type Bindings, bytesOf } from './sizes.js'

export interface MemoryPlan {
  /** greatest sum of bytes of buffers alive at once, without weights and inputs */
  peak: number
  /** what the arena that they are taken from grows to, holes between them included */
  arena: number
  /** the node during which the peak is reached */
  at: Node
  /** buffers alive then, by the value they were made for, largest first */
  alive: { value: Value; bytes: number }[]
}

/** Runs a graph's file order in thought: what is alive when, and how much at most. */
export function planMemory(file: readonly Node[], outputs: Graph['outputs'], bindings: Bindings): MemoryPlan {
  const order = executionOrder(file)
  const lives = new Lives(order, outputs, bindings)
  let [peak, at] = [0, order[0]]
  for (const node of order) {
    lives.enter(node)
    if (lives.total > peak) [peak, at] = [lives.total, node]
    lives.leave(node)
  }
  return {
    peak,
    arena: lives.arena.touched,
    at,
    alive: aliveAt(at, order, new Lives(order, outputs, bindings)),
  }
}

function aliveAt(at: Node, order: readonly Node[], lives: Lives): MemoryPlan['alive'] {
  for (const node of order) {
    lives.enter(node)
    if (node === at) break
    lives.leave(node)
  }
  return [...lives.held].map(([value, { bytes }]) => ({ value, bytes })).sort((a, b) => b.bytes - a.bytes)
}

/** Buffers as they come and go. */
class Lives {
  total = 0
  readonly arena = new Arena()
  readonly held = new Map<Value, { bytes: number; chunk: ReturnType<Arena['allocate']> }>()
  private readonly buffer: ReadonlyMap<Value, Value>
  /** reads of each buffer still to come, of all values in it */
  private readonly reads = new Map<Value, number>()

  constructor(
    order: readonly Node[],
    outputs: readonly Value[],
    private readonly bindings: Bindings,
  ) {
    this.buffer = shareBuffers(order, outputs)
    for (const [v, n] of countReads(order, outputs))
      this.reads.set(this.root(v), (this.reads.get(this.root(v)) ?? 0) + n)
  }
  private root(v: Value): Value {
    return this.buffer.get(v) ?? v
  }

  /** A node runs: its outputs come to life. */
  enter(node: Node): void {
    for (const y of node.outputs) {
      if (!y || this.root(y) !== y) continue
      const bytes = bytesOf(y, this.bindings)
      this.held.set(y, { bytes, chunk: this.arena.allocate(bytes) })
      this.total += bytes
    }
  }

  /** The node is done: what nobody reads any more is freed. */
  leave(node: Node): void {
    for (const v of inputsOf(node)) {
      if (!v?.producer) continue
      const root = this.root(v)
      const left = (this.reads.get(root) ?? 0) - 1
      this.reads.set(root, left)
      if (left === 0) this.free(root)
    }
    for (const y of node.outputs) if (y && (this.reads.get(this.root(y)) ?? 0) === 0) this.free(this.root(y))
  }
  private free(root: Value): void {
    const buffer = this.held.get(root)
    if (!buffer) return
    this.held.delete(root)
    this.total -= buffer.bytes
    this.arena.free(buffer.chunk)
  }
}
