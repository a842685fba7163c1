import type { Graph } from '../graph/graph.js'
import type { Node, Value } from '../graph/types.js'
import { blockOf } from './blocks.js'
import { weightOnly } from './execution-order.js'
import { flopsOf } from './flops.js'
import { FlowGraph } from './min-cut.js'
import { type Bindings, bytesOf } from './sizes.js'

/**
 * What the backward pass may compute again instead of keeping it from the forward pass: nothing, what is
 * cheap (and a few blocks), all blocks.
 */
export const memoryModes = ['fast', 'balanced', 'low'] as const
/** What the backward pass keeps. */
export type MemoryMode = (typeof memoryModes)[number]

/** Share of a step's work that `balanced` may add by repeating whole blocks. */
const extraShare = 0.05
/**
 * Work per byte of the output above which `balanced` keeps a value: scores of attention stay below, linear
 * layers don't.
 */
const cheapFlopsPerByte = 64

/**
 * Makes the backward pass read copies, computed when it gets there, of values that would otherwise live from
 * the forward pass on. Which values are kept is the cheapest cut, in bytes, between what must be kept and
 * what the backward pass reads (as PyTorch's min-cut rematerialisation). A block is a module under the first
 * number of a path ("model.layers.5"): what crosses from one block to another is kept, so that no copy
 * reaches further back than its own block. Numbers come out bit for bit the same.
 */
export function recompute(
  graph: Graph,
  backward: ReadonlySet<Node>,
  mode: MemoryMode,
  bindings: Bindings,
): void {
  if (mode === 'fast') return
  const blocks = new Blocks(graph, backward, mode, bindings)
  const again = blocks.cheapestToRepeat()
  const copies = new Copies(graph, again)
  for (const value of again)
    for (const user of [...value.users]) if (backward.has(user)) copies.repoint(user, value)
  graph.reorder(copies.behindOriginals(graph.sorted()))
}

const random = /^Random|^Bernoulli|^Multinomial|^Dropout/

/** The values of the forward pass that stand in blocks. */
class Blocks {
  private readonly values: Value[]
  /** blocks that are repeated whole */
  private readonly whole: ReadonlySet<string>

  constructor(
    graph: Graph,
    private readonly backward: ReadonlySet<Node>,
    mode: MemoryMode,
    private readonly bindings: Bindings,
  ) {
    const forward = graph
      .sorted()
      .filter((node) => !backward.has(node) && blockOf(node) !== undefined && !weightOnly(node))
    this.values = forward.flatMap((node) => node.outputs.filter((v): v is Value => v !== null))
    this.whole = this.affordable(forward, mode, extraShare * this.work(graph.nodes))
  }
  private work(nodes: Iterable<Node>): number {
    let sum = 0
    for (const node of nodes) sum += flopsOf(node, this.bindings)
    return sum
  }
  /** As many blocks as the work allows, the lowest first: what they keep lives longest. */
  private affordable(forward: readonly Node[], mode: MemoryMode, allowed: number): Set<string> {
    const chosen = new Set<string>()
    let left = mode === 'low' ? Number.POSITIVE_INFINITY : allowed
    for (const block of new Set(forward.map((node) => blockOf(node) as string))) {
      const nodes = forward.filter((node) => blockOf(node) === block)
      left -= this.work(nodes)
      if (left < 0 || (mode === 'balanced' && !this.frees(nodes))) break
      chosen.add(block)
    }
    return chosen
  }

  /** Whether what a block's products make is more than the packed matrices of integers that their copies read. */
  private frees(nodes: readonly Node[]): boolean {
    let bytes = 0
    for (const node of nodes)
      for (const v of [...node.outputs, ...node.inputs])
        if (v?.data && v.dtype === 'int8') bytes -= bytesOf(v, this.bindings)
        else if (v && node.outputs.includes(v) && !this.cheap(node, v)) bytes += bytesOf(v, this.bindings)
    return bytes >= 0
  }
  private cheap = (node: Node, value: Value): boolean =>
    flopsOf(node, this.bindings) <= cheapFlopsPerByte * bytesOf(value, this.bindings)

  /** Whether the backward pass may compute the value again. */
  private repeatable(value: Value): boolean {
    const node = value.producer as Node
    if (random.test(node.op) || node.captures) return false
    if (node.outputs.some((v) => v && this.leavesBlock(v))) return false
    return this.whole.has(blockOf(node) as string) || this.cheap(node, value)
  }
  private leavesBlock(value: Value): boolean {
    const block = blockOf(value.producer)
    return [...value.users].some((user) => !this.backward.has(user) && blockOf(user) !== block)
  }

  /** The values that no longer need to be kept. */
  cheapestToRepeat(): Set<Value> {
    const flow = new FlowGraph()
    const [source, sink] = [flow.vertex(), flow.vertex()]
    const entry = new Map(this.values.map((v) => [v, flow.vertex()]))
    const exit = new Map(this.values.map((v) => [v, flow.vertex()]))
    const always = Number.POSITIVE_INFINITY
    for (const v of this.values) {
      const [into, out] = [entry.get(v) as number, exit.get(v) as number]
      flow.edge(into, out, bytesOf(v, this.bindings))
      if ([...v.users].some((user) => this.backward.has(user))) flow.edge(out, sink, always)
      if (!this.repeatable(v)) flow.edge(source, into, always)
      else
        for (const x of (v.producer as Node).inputs)
          if (x && exit.has(x)) flow.edge(exit.get(x) as number, into, always)
    }
    const sinkSide = flow.sinkSide(source, sink)
    return new Set(this.values.filter((v) => sinkSide.has(entry.get(v) as number)))
  }
}

/** Second copies of forward nodes, made on demand, each once. */
class Copies {
  private readonly made = new Map<Node, Node>()
  constructor(
    private readonly graph: Graph,
    private readonly again: ReadonlySet<Value>,
  ) {}

  repoint(user: Node, value: Value): void {
    const copy = this.of(value)
    user.inputs.forEach((v, i) => {
      if (v === value) this.graph.setInput(user, i, copy)
    })
  }

  private of(value: Value): Value {
    if (!this.again.has(value)) return value
    const node = value.producer as Node
    let copy = this.made.get(node)
    if (!copy) {
      const inputs = node.inputs.map((v) => v && this.of(v))
      copy = this.graph.addNode(node.op, inputs, node.attributes, {
        scope: `${node.scope}/again`,
        outputs: node.outputs.map((v) => v && `${v.name}:again`),
      })
      this.made.set(node, copy)
    }
    return copy.outputs[node.outputs.indexOf(value)] as Value
  }

  /** Each copy right behind its original: early in the file, so that it runs as late as it can. */
  behindOriginals(sorted: readonly Node[]): Node[] {
    const copies = new Set(this.made.values())
    return sorted
      .filter((node) => !copies.has(node))
      .flatMap((node) => [node, ...(this.made.has(node) ? [this.made.get(node) as Node] : [])])
  }
}
