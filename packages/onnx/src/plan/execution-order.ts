import type { Graph } from '../graph/graph.js'
import type { Node } from '../graph/types.js'

/** Whether a node computes something of constants alone: a stored weight cast or dequantised for use. */
export const weightOnly = (node: Node): boolean =>
  node.inputs.length > 0 && !node.captures && node.inputs.every((v) => v === null || v.data !== undefined)

/**
 * The nodes in the order in which they are written. Casts of stored weights go to the file's start: there, ONNX Runtime runs each just
 * before its use; elsewhere, all of them before anything else.
 */
export function fileOrder(graph: Graph): Node[] {
  const sorted = graph.sorted()
  return [...sorted.filter(weightOnly), ...sorted.filter((n) => !weightOnly(n))]
}

/**
 * The order in which ONNX Runtime executes nodes that stand in a file in this order: depth first from the nodes that nothing
 * reads, the last of the file first; of a node's producers, the last of the file first (onnxruntime's Graph::ReverseDFSFrom
 * with NodeCompare). So what stands early in the file runs as late as it can.
 */
export function executionOrder(file: readonly Node[]): Node[] {
  const index = new Map(file.map((node, i) => [node, i]))
  const at = (node: Node) => index.get(node) as number
  const producers = file.map((node) => {
    const found = new Set<Node>()
    for (const v of [...node.inputs, ...(node.captures ?? [])])
      if (v?.producer && index.has(v.producer)) found.add(v.producer)
    return [...found].sort((a, b) => at(a) - at(b))
  })
  const read = new Set(producers.flat())
  const pending: { node: Node; leaving: boolean }[] = file
    .filter((node) => !read.has(node))
    .map((node) => ({ node, leaving: false }))
  const visited = new Set<Node>()
  const order: Node[] = []
  while (pending.length > 0) {
    const { node, leaving } = pending.pop() as (typeof pending)[number]
    if (leaving) order.push(node)
    else if (!visited.has(node)) {
      visited.add(node)
      pending.push({ node, leaving: true })
      for (const producer of producers[at(node)])
        if (!visited.has(producer)) pending.push({ node: producer, leaving: false })
    }
  }
  return order
}
