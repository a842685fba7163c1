import { is } from '../graph/ops/traits.js'
import type { Graph } from '../graph/graph.js'
import { type Node, type Value, outputOf } from '../graph/types.js'
import { executionOrder, fileOrder, weightOnly } from '../plan/execution-order.js'

/** Uses no further apart than this, in executed nodes, share one wide copy: the chunks of an output layer do, forward and backward don't. */
const near = 64

/**
 * Gives uses of a cast or dequantised weight that are far apart a copy each. Otherwise the wide copy made for the forward pass would
 * live until the backward pass reads it, for all layers at once; so at most a few layers' are alive.
 * Rows picked from a cast table are picked first and cast then.
 */
export function castPerUse(graph: Graph): void {
  const wide = [...graph.nodes].filter(
    (node) => is(node.op, 'widening') && node.outputs.length === 1 && weightOnly(node),
  )
  if (wide.length === 0) return
  for (const node of wide) pickFirst(graph, node)
  const position = new Map(executionOrder(fileOrder(graph)).map((node, i) => [node, i]))
  for (const node of wide) {
    const value = outputOf(node)
    const users = [...value.users].sort((a, b) => (position.get(a) ?? 0) - (position.get(b) ?? 0))
    let copy = value
    users.forEach((user, i) => {
      if (i > 0 && (position.get(user) ?? 0) - (position.get(users[i - 1]) ?? 0) > near)
        copy = again(graph, node)
      if (copy !== value) repoint(graph, user, value, copy)
    })
  }
  graph.prune()
}

/** Gather(Cast(table)) → Cast(Gather(table)) */
function pickFirst(graph: Graph, cast: Node): void {
  if (cast.op !== 'Cast') return
  for (const user of [...outputOf(cast).users]) {
    if (user.op !== 'Gather' || user.inputs[0] !== cast.outputs[0]) continue
    const rows = graph.addNode('Gather', [cast.inputs[0], user.inputs[1]], user.attributes, {
      scope: user.scope,
    }).outputs[0] as Value
    const widened = graph.addNode('Cast', [rows], cast.attributes, { scope: user.scope }).outputs[0] as Value
    graph.replaceUses(outputOf(user), widened)
  }
}

const again = (graph: Graph, { op, inputs, attributes, scope }: Node): Value =>
  graph.addNode(op, inputs, attributes, { scope }).outputs[0] as Value

function repoint(graph: Graph, user: Node, from: Value, to: Value): void {
  user.inputs.forEach((v, i) => {
    if (v === from) graph.setInput(user, i, to)
  })
}
