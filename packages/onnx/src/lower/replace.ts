import type { Builder } from '../graph/builder.js'
import type { Node, Value } from '../graph/types.js'

/** What a node is computed by instead: a value per output (null where nobody reads it), or undefined where the node stays. */
export type Lowering = (node: Node, g: Builder) => (Value | null)[] | undefined

/** Replaces nodes by what the lowering makes of them, each at its own place: the order of a file decides when ONNX Runtime frees what. */
export function replaceNodes(g: Builder, lower: Lowering): void {
  const { graph } = g
  const order: Node[] = []
  for (const node of graph.sorted()) {
    let made: (Value | null)[] | undefined
    const added = graph.record(() => {
      made = graph.within(node.scope, () => lower(node, g))
    })
    order.push(...added)
    if (!made) order.push(node)
    else replaceOutputs(g, node, made)
  }
  graph.reorder(order)
}

function replaceOutputs({ graph }: Builder, node: Node, made: readonly (Value | null)[]): void {
  node.outputs.forEach((v, i) => {
    const instead = made[i]
    if (v && instead) graph.replaceUses(v, instead)
  })
  graph.removeNode(node)
}
