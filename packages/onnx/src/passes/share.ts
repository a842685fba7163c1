import type { Graph } from '../graph/graph.js'
import type { Attribute, Node, Value } from '../graph/types.js'

/**
 * Makes nodes that compute the same thing of the same values one node. Only among the given nodes: copies that exist to free memory
 * in between are never given.
 */
export function mergeTwins(graph: Graph, nodes: ReadonlySet<Node>): void {
  const numbers = new Map<Value | null, number>()
  const number = (v: Value | null) => {
    if (!numbers.has(v)) numbers.set(v, numbers.size)
    return numbers.get(v)
  }
  const first = new Map<string, Node>()
  for (const node of graph.sorted()) {
    if (!nodes.has(node) || node.captures || Object.values(node.attributes).some(isOpaque)) continue
    const key = `${node.op}|${node.inputs.map(number)}|${node.outputs.length}|${JSON.stringify(node.attributes)}`
    const same = first.get(key)
    if (same) merge(graph, node, same)
    else first.set(key, node)
  }
}

const isOpaque = (a: Attribute): boolean => typeof a === 'object' && !Array.isArray(a)

function merge(graph: Graph, node: Node, same: Node): void {
  node.outputs.forEach((v, i) => {
    if (v) graph.replaceUses(v, graph.output(same, i))
  })
  graph.removeNode(node)
}
