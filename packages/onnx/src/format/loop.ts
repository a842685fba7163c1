import { create } from '@bufbuild/protobuf'
import type { Graph } from '../graph/graph.js'
import type { DType, Value } from '../graph/types.js'
import {
  AttributeProto_AttributeType as Type,
  AttributeProtoSchema,
  GraphProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
  type ValueInfoProto,
} from './gen/onnx-ml_pb.js'
import { graphFields, initializers, inProcess, modelBytes, valueInfo } from './write.js'

export interface LoopOptions {
  /** inputs that an iteration leaves as outputs for the next: input's name → output's name */
  carried: Readonly<Record<string, string>>
}
/** Names that a loop's model gives its inputs: how many iterations, and for each input that changes all its values and their sizes. */
export const iterations = 'iterations'
export const stacked = (name: string): string => `${name}:all`
export const sizesOf = (name: string): string => `${name}:sizes`

/**
 * Several runs of a graph as one: a model whose only node is a Loop with the graph as its body. What is carried stays on the device between iterations;
 * weights lie outside the loop. Inputs: `iterations` (int64), the carried ones' first values, and for every other input x `x:all` [n, …], each
 * iteration's values padded to the largest, with `x:sizes` [n, rank] (int64), which the body cuts them back to. Outputs: the carried ones' last values, and
 * the others stacked [n, …].
 */
export function encodeLoop(graph: Graph, { carried }: LoopOptions): Uint8Array {
  const encoding = inProcess(graph)
  const kept = graph.inputs.filter((v) => v.name in carried)
  const fed = graph.inputs.filter((v) => !(v.name in carried))
  const scanned = graph.outputs.filter((v) => !Object.values(carried).includes(v.name))
  const { node = [], valueInfo: inside = [] } = graphFields(graph, encoding)
  const output = (name: string) => graph.outputs.find((v) => v.name === name) as Value
  const body = create(GraphProtoSchema, {
    name: 'step',
    input: [
      scalarInfo('iteration', 'int64'),
      scalarInfo('condition', 'bool'),
      ...kept.map((v) => valueInfo(v, v.name)),
    ],
    output: [
      scalarInfo('goes_on', 'bool'),
      ...kept.map((v) => valueInfo(output(carried[v.name]), carried[v.name])),
      ...scanned.map((v) => valueInfo(v, v.name)),
    ],
    valueInfo: inside,
    node: [nodeOf('Identity', ['condition'], ['goes_on']), ...fed.flatMap(picked), ...node],
  })
  const loop = create(NodeProtoSchema, {
    opType: 'Loop',
    name: 'steps',
    input: [iterations, '', ...kept.map((v) => v.name)],
    output: [...kept.map((v) => last(carried[v.name])), ...scanned.map((v) => v.name)],
    attribute: [create(AttributeProtoSchema, { name: 'body', type: Type.GRAPH, g: body })],
  })
  return modelBytes({
    name: 'graft',
    input: [
      scalarInfo(iterations, 'int64'),
      ...kept.map((v) => valueInfo(v, v.name)),
      ...fed.flatMap(stackedInfo),
    ],
    output: [
      ...kept.map((v) => valueInfo(output(carried[v.name]), carried[v.name])),
      ...scanned.map((v) => valueInfo({ dtype: v.dtype, shape: ['iterations', ...(v.shape ?? [])] }, v.name)),
    ],
    initializer: [...initializers(graph, encoding), ...indices],
    node: [loop, ...kept.map((v) => nodeOf('Identity', [last(carried[v.name])], [carried[v.name]]))],
  })
}
const last = (name: string): string => `${name}:last`
const scalarInfo = (name: string, dtype: DType): ValueInfoProto => valueInfo({ dtype, shape: [] }, name)
const stackedInfo = (v: Value): ValueInfoProto[] => [
  valueInfo(
    { dtype: v.dtype, shape: ['iterations', ...(v.shape ?? []).map((_, i) => `${v.name}:${i}`)] },
    stacked(v.name),
  ),
  ...(v.shape?.length
    ? [valueInfo({ dtype: 'int64', shape: ['iterations', v.shape.length] }, sizesOf(v.name))]
    : []),
]
const nodeOf = (opType: string, input: string[], output: string[]): NodeProto =>
  create(NodeProtoSchema, { opType, name: `loop:${output[0]}`, input, output })

/** An iteration's own value of an input: its row, cut to its sizes. */
function picked({ name, shape }: Value): NodeProto[] {
  const rank = shape?.length ?? 0
  if (rank === 0) return [nodeOf('Gather', [stacked(name), 'iteration'], [name])]
  return [
    nodeOf('Gather', [stacked(name), 'iteration'], [`${name}:padded`]),
    nodeOf('Gather', [sizesOf(name), 'iteration'], [`${name}:ends`]),
    nodeOf('Slice', [`${name}:padded`, starts(rank), `${name}:ends`, axes(rank)], [name]),
  ]
}
const starts = (rank: number): string => `loop:starts${rank}`
const axes = (rank: number): string => `loop:axes${rank}`
/** Constants of the cutting, for inputs of up to four dimensions. */
const indices = [1, 2, 3, 4].flatMap((rank) =>
  [
    { name: starts(rank), list: new Array<number>(rank).fill(0) },
    { name: axes(rank), list: Array.from({ length: rank }, (_, i) => i) },
  ].map(({ name, list }) =>
    create(TensorProtoSchema, { name, dataType: 7, dims: [BigInt(rank)], int64Data: list.map(BigInt) }),
  ),
)
