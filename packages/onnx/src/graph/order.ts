import type { Node, Value } from './types.js'

/** All that a node reads: its inputs, and what its subgraphs take from outside. */
const needsOf = ({ inputs, captures }: Node): (Value | null)[] =>
  captures ? [...inputs, ...captures] : inputs

/** Nodes in an order where producers come first; ties keep the given order. Deep graphs need no deep stack. */
export function producersFirst(nodes: Iterable<Node>): Node[] {
  const order: Node[] = []
  const seen = new Set<Node>()
  for (const root of nodes) {
    const stack: { node: Node; next: number; needs: (Value | null)[] }[] = []
    const enter = (node: Node) => {
      seen.add(node)
      stack.push({ node, next: 0, needs: needsOf(node) })
    }
    if (!seen.has(root)) enter(root)
    while (stack.length > 0) {
      const top = stack[stack.length - 1]
      if (top.next === top.needs.length) {
        order.push(top.node)
        stack.pop()
        continue
      }
      const producer = top.needs[top.next++]?.producer
      if (producer && !seen.has(producer)) enter(producer)
    }
  }
  return order
}
