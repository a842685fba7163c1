import type { Graph } from '../graph/graph.js'
import type { Node, Value } from '../graph/types.js'
import { blockOf } from './blocks.js'
import { weightOnly } from './execution-order.js'
import { FlowGraph } from './min-cut.js'
import { type Bindings, bytesOf } from './sizes.js'

/** A step cut in two: what depends on the data alone, and the rest. */
export interface FrozenCut {
  /** computes the values at the cut from the data */
  below: Graph
  /** the values at the cut, outputs of `below` and inputs of the rest: [batch, positions, width] */
  values: readonly Value[]
}

/**
 * Cuts a compiled step below the lowest layer that depends on anything but the data: what is below never changes while training goes on.
 * The cut is the one of the fewest bytes, nearest the top; the graph itself becomes the part above it, with new inputs. Undefined, and the
 * graph as it was, where no whole layer lies below. `data`: names of the inputs that are the data.
 */
export function splitFrozen(
  graph: Graph,
  data: ReadonlySet<string>,
  bindings: Bindings,
): FrozenCut | undefined {
  const cut = cheapestCut(graph, data, bindings)
  if (!cut) return undefined
  const { graph: below, copyOf } = graph.clone()
  below.outputs.splice(0, below.outputs.length, ...cut.map(copyOf))
  below.prune()
  below.dropUnusedInputs()
  const values = cut.map((v, k) => {
    const input = graph.addInput(graph.fresh(`frozen.${k}`), v.dtype, v.shape ?? [])
    graph.replaceUses(v, input)
    return input
  })
  graph.prune()
  graph.dropUnusedInputs()
  return { below, values }
}

function cheapestCut(graph: Graph, data: ReadonlySet<string>, bindings: Bindings): Value[] | undefined {
  const sorted = graph.sorted()
  const moving = reached(
    graph.inputs.filter((v) => !data.has(v.name)),
    sorted,
  )
  const upper = new Set([...moving].map(blockOf))
  const still = sorted.filter((node) => !moving.has(node) && !weightOnly(node))
  const lower = still.filter(
    (node) => blockOf(node) !== undefined && !upper.has(blockOf(node)) && readsWeights(node),
  )
  if (lower.length === 0) return undefined
  const forced = new Set(lower.flatMap(valuesOf))
  const after = reached([...forced], still)
  const values = [...new Set([...forced, ...still.filter((node) => after.has(node)).flatMap(valuesOf)])]
  const flow = new FlowGraph()
  const [source, sink, always] = [flow.vertex(), flow.vertex(), Number.POSITIVE_INFINITY]
  const entry = new Map(values.map((v) => [v, flow.vertex()]))
  const exit = new Map(values.map((v) => [v, flow.vertex()]))
  for (const v of values) {
    const [into, out] = [entry.get(v) as number, exit.get(v) as number]
    if (forced.has(v)) flow.edge(source, into, always)
    flow.edge(into, out, storable(v) ? bytesOf(v, bindings) : always)
    for (const user of v.users) {
      if (moving.has(user)) flow.edge(out, sink, always)
      else
        for (const next of valuesOf(user))
          if (entry.has(next)) flow.edge(out, entry.get(next) as number, always)
    }
  }
  const above = flow.sinkSide(source, sink)
  const cut = values.filter((v) => !above.has(entry.get(v) as number) && above.has(exit.get(v) as number))
  return cut.length > 0 && cut.every(storable) ? cut : undefined
}
const valuesOf = (node: Node): Value[] => node.outputs.filter((v): v is Value => v !== null)

/** Layers do the work; masks and positions that stand among them may as well be computed on both sides. */
const readsWeights = (node: Node): boolean =>
  node.inputs.some(
    (v) =>
      v && (v.shape?.length ?? 0) > 1 && (v.data !== undefined || (v.producer && weightOnly(v.producer))),
  )

/** The nodes that depend on any of the values. */
function reached(values: readonly Value[], sorted: readonly Node[]): Set<Node> {
  const known = new Set(values)
  const found = new Set<Node>()
  for (const node of sorted) {
    if (![...node.inputs, ...(node.captures ?? [])].some((v) => v && known.has(v))) continue
    found.add(node)
    for (const v of valuesOf(node)) known.add(v)
  }
  return found
}

/** Numbers per example and position, so that each example's can be kept by itself. */
const storable = ({ dtype, shape }: Value): boolean =>
  dtype === 'float32' && shape?.length === 3 && typeof shape[0] !== 'number' && typeof shape[2] === 'number'
