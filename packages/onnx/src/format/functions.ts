import { clone } from '@bufbuild/protobuf'
import { GraftError } from '../graph/errors.js'
import {
  type AttributeProto,
  AttributeProtoSchema,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  NodeProtoSchema,
} from './gen/onnx-ml_pb.js'

const key = (domain: string, name: string, overload: string) =>
  `${domain === 'ai.onnx' ? '' : domain}::${name}::${overload}`

/** Functions that call others several times over grow with every level. */
const most = 2 ** 17

/** Replaces every call of a model-local function by its body, until no call is left. Throws RECURSIVE_FUNCTION, TOO_LARGE. */
export function inlineFunctions(model: ModelProto): NodeProto[] {
  const functions = new Map(model.functions.map((f) => [key(f.domain, f.name, f.overload), f]))
  let made = 0
  const expand = (nodes: readonly NodeProto[], depth: number): NodeProto[] => {
    if (depth > 64)
      throw new GraftError('RECURSIVE_FUNCTION', 'The model has a local function that calls itself.')
    made += nodes.length
    if (made > most)
      throw new GraftError(
        'TOO_LARGE',
        `The model's local functions come to more than ${most} nodes written out. No exported model has so many.`,
      )
    return nodes.flatMap((node, i) => {
      const called = functions.get(key(node.domain, node.opType, node.overload))
      return called ? expand(body(called, node, `${depth}.${i}`), depth + 1) : [node]
    })
  }
  return functions.size === 0 ? (model.graph?.node ?? []) : expand(model.graph?.node ?? [], 0)
}

function body(called: FunctionProto, call: NodeProto, serial: string): NodeProto[] {
  const prefix = `${call.name || call.output.find((o) => o !== '')}/${serial}/`
  const names = new Map<string, string>()
  called.input.forEach((formal, i) => {
    names.set(formal, call.input[i] ?? '')
  })
  called.output.forEach((formal, i) => {
    names.set(formal, call.output[i] || prefix + formal)
  })
  const rename = (name: string) => (name === '' ? '' : (names.get(name) ?? prefix + name))
  const given = new Map([...called.attributeProto, ...call.attribute].map((a) => [a.name, a]))
  return called.node.map((node) => {
    const copy = clone(NodeProtoSchema, node)
    copy.name = prefix + (node.name || node.output[0])
    copy.input = node.input.map(rename)
    copy.output = node.output.map(rename)
    copy.attribute = copy.attribute.flatMap((a) => resolve(a, given))
    for (const graph of copy.attribute.map((a) => a.g)) if (graph) renameOuter(graph, rename)
    if (copy.metadataProps.length === 0) copy.metadataProps = call.metadataProps
    return copy
  })
}

/** An attribute of a body node; one that refers to the function's own attribute takes the caller's value, or none. */
function resolve(attribute: AttributeProto, given: ReadonlyMap<string, AttributeProto>): AttributeProto[] {
  if (attribute.refAttrName === '') return [attribute]
  const value = given.get(attribute.refAttrName)
  if (!value) return []
  const copy = clone(AttributeProtoSchema, value)
  copy.name = attribute.name
  return [copy]
}

/** Renames what a subgraph reads from the function's body; its own names are left alone. */
function renameOuter(graph: GraphProto, rename: (name: string) => string): void {
  const own = new Set([
    ...graph.input.map((v) => v.name),
    ...graph.initializer.map((t) => t.name),
    ...graph.node.flatMap((n) => n.output),
  ])
  const outer = (name: string) => (own.has(name) ? name : rename(name))
  for (const node of graph.node) {
    node.input = node.input.map(outer)
    for (const nested of node.attribute.map((a) => a.g)) if (nested) renameOuter(nested, outer)
  }
  for (const output of graph.output) output.name = outer(output.name)
}
