import { is } from '../graph/ops/traits.js'
import { Builder } from '../graph/builder.js'
import type { Graph } from '../graph/graph.js'
import { type Node, type Value, outputOf } from '../graph/types.js'
import { replaceNodes } from './replace.js'

const isNarrow = (v: Value | null): v is Value => v?.dtype === 'bfloat16'

/**
 * The graph as a CPU computes it, which has no arithmetic in bfloat16: each operator in float32, between casts. Results are rounded to bfloat16 where they
 * would be, as ONNX Runtime itself does for float16. The graph itself where there is nothing to do.
 */
export function lowerForCpu(original: Graph): Graph {
  // ONNX Runtime's CPU provider moves and casts bfloat16 itself.
  const computes = (node: Node) => !is(node.op, 'move', 'view', 'widening') && node.outputs.some(isNarrow)
  if (![...original.nodes].some(computes)) return original
  const { graph } = original.clone()
  replaceNodes(new Builder(graph), (node, g) => (computes(node) ? widened(g, node) : undefined))
  return graph
}

function widened(g: Builder, node: Node): (Value | null)[] {
  const inputs = node.inputs.map((v) => (isNarrow(v) ? g.cast(v, 'float32') : v))
  const made = g.graph.addNode(node.op, inputs, node.attributes, { count: node.outputs.length })
  return node.outputs.map((v, i) => v && g.cast(outputOf(made, i), v.dtype))
}
