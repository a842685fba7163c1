import type { Graph } from './graph.js'
import { describe } from './graph.js'
import type { Attribute, Node } from './types.js'

function attribute(value: Attribute): string {
  if (Array.isArray(value)) return `[${value.join(', ')}]`
  return typeof value === 'object' ? '…' : String(value)
}
function printNode(node: Node): string {
  const outputs = node.outputs.map((v) => (v ? describe(v) : '_')).join(', ')
  const inputs = node.inputs.map((v) => v?.name ?? '_').join(', ')
  const attributes = Object.entries(node.attributes).map(([k, v]) => `${k}=${attribute(v)}`)
  return `  ${outputs} = ${node.op}(${[inputs, ...attributes].join(', ')})${node.scope ? `  # ${node.scope}` : ''}`
}

/** The graph as text, one node a line, in execution order. */
export function print(graph: Graph): string {
  const constants = graph.constants().map((v) => `  ${describe(v)} = constant`)
  return [
    `graph(${graph.inputs.map(describe).join(', ')}) {`,
    ...constants,
    ...graph.sorted().map(printNode),
    `  return ${graph.outputs.map((v) => v.name).join(', ')}`,
    '}',
  ].join('\n')
}
