import { type GraphProto, type NodeProto } from './gen/onnx-ml_pb.js'

/** Names that a node's subgraphs read from outside themselves. */
export function outerNames(node: NodeProto): string[] {
  return node.attribute.flatMap((a) => (a.g ? free(a.g) : []))
}

function free(graph: GraphProto): string[] {
  const own = new Set([
    ...graph.input.map((v) => v.name),
    ...graph.initializer.map((t) => t.name),
    ...graph.node.flatMap((n) => n.output),
  ])
  const read = [
    ...graph.node.flatMap((n) => [...n.input, ...outerNames(n)]),
    ...graph.output.map((o) => o.name),
  ]
  return [...new Set(read.filter((name) => name !== '' && !own.has(name)))]
}
