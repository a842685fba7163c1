import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { Shape } from '../graph/dim.js'
import type { Graph } from '../graph/graph.js'
import { type Attribute, dtypes, type Node, type TensorData, type Value, inputOf } from '../graph/types.js'
import {
  type AttributeProto,
  AttributeProto_AttributeType as Type,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './gen/onnx-ml_pb.js'
import { fileOrder } from '../plan/execution-order.js'
import { AtomicFile } from './atomic.js'
import { DataFiles, type DataPlace, mostBytes } from './data-files.js'
import { targetIr, targetOpset } from './opset.js'
import { scopesKey } from './scopes.js'
import { readBytes } from './tensors.js'

/** Attributes ONNX wants as floats even when their value is whole. */
const floatAttributes = new Set([
  'alpha',
  'beta',
  'epsilon',
  'gamma',
  'momentum',
  'lambd',
  'bias',
  'ratio',
  'scale',
  'softcap',
  'theta',
])
/** Attributes that only Graft's own rules read. */
const privateAttributes = new Set(['fill'])

/** Where a constant's bytes go: kept in the model, or a place in a file. */
type Place = (value: Value) => DataPlace | undefined

/** Follows values that carry meaning only for Graft to what ONNX Runtime should read. */
function lowered(value: Value): Value {
  return value.producer?.op === 'graft::StopGradient' ? lowered(inputOf(value.producer)) : value
}

/**
 * The graph as ONNX bytes for a session in this process: weights in files are named by their absolute path without the
 * leading slash, for a session whose external folder is the root. Node order is kept: ONNX Runtime's execution order follows it.
 */
export const encodeOnnx = (graph: Graph): Uint8Array => encode(graph, inProcess(graph))

export function inProcess(graph: Graph): Encoding {
  const place: Place = ({ data }) => {
    if (!data || !('file' in data)) return undefined
    data.make?.()
    return { location: data.file.replace(/^\/+/, ''), offset: data.offset, length: data.length }
  }
  return { place, nameOf: shortNames(graph), scopes: false }
}
/** Values inside are numbered: ONNX Runtime keeps many copies of each name, which come to tens of megabytes for paths of modules. */
function shortNames({ inputs, outputs }: Graph): (v: Value) => string {
  const outside = new Set([...inputs, ...outputs])
  const given = new Map<Value, string>()
  return (v) => {
    if (outside.has(v)) return v.name
    if (!given.has(v)) given.set(v, `%${given.size.toString(36)}`)
    return given.get(v) as string
  }
}

/**
 * Writes the graph as `path`, with all larger weights beside it in `path`_data, as Optimum and transformers.js name them, and
 * atomically; what goes beyond `most` bytes into `path`_data_1 and on. Returns the names of those files. Throws what writing files throws.
 */
export function writeOnnx(graph: Graph, path: string, most = mostBytes): string[] {
  const places = new Map<Value, DataPlace>()
  const [outside, model] = [new DataFiles(path, most), new AtomicFile(path)]
  try {
    for (const value of graph.constants()) {
      const data = value.data as TensorData
      const length = 'bytes' in data ? data.bytes.byteLength : data.length
      if (length < 1024) continue
      const { file, ...place } = outside.take(length)
      places.set(value, place)
      for (const { at, bytes } of pieces(data)) file.write(bytes, place.offset + at)
    }
    model.write(encode(graph, { place: (v) => places.get(v), nameOf: (v) => v.name, scopes: true }))
    model.sync()
    outside.finish()
    model.finish()
    return outside.names
  } finally {
    outside.discard()
    model.discard()
  }
}

/** A constant's bytes, a part at a time. Throws TRUNCATED_WEIGHTS. */
function* pieces(data: TensorData): Generator<{ at: number; bytes: Uint8Array }> {
  if ('bytes' in data) return yield { at: 0, bytes: data.bytes }
  data.make?.()
  for (let at = 0; at < data.length; at += 2 ** 24) {
    const part = { ...data, offset: data.offset + at, length: Math.min(2 ** 24, data.length - at) }
    yield { at, bytes: readBytes(part) }
  }
}

export interface Encoding {
  place: Place
  nameOf: (value: Value) => string
  /** whether nodes say which module they belong to */
  scopes: boolean
}

const encode = (graph: Graph, encoding: Encoding): Uint8Array =>
  modelBytes({ ...graphFields(graph, encoding), initializer: initializers(graph, encoding) })

type GraphFields = Omit<
  Extract<MessageInitShape<typeof GraphProtoSchema>, { $typeName?: undefined }>,
  '$typeName'
>
/** A graph's nodes and types, without its weights. */
export function graphFields(graph: Graph, encoding: Encoding): GraphFields {
  const nodes = fileOrder(graph).filter((n) => n.op !== 'graft::StopGradient')
  return {
    name: 'graft',
    input: graph.inputs.map((v) => valueInfo(v, v.name)),
    output: graph.outputs.map((v) => valueInfo(v, v.data ? outputName(v) : v.name)),
    valueInfo: inside(nodes, graph).map((v) => valueInfo(v, encoding.nameOf(v))),
    node: [...nodes.map((node) => nodeProto(node, encoding)), ...passedThrough(graph, encoding)],
  }
}
export const initializers = (graph: Graph, encoding: Encoding): TensorProto[] =>
  graph.constants().map((v) => tensorProto(v, encoding))

export const modelBytes = (graph: GraphFields): Uint8Array =>
  toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: BigInt(targetIr),
      producerName: 'graft',
      opsetImport: [
        { domain: '', version: BigInt(targetOpset) },
        { domain: 'com.microsoft', version: 1n },
      ],
      graph: create(GraphProtoSchema, graph),
    }),
  )

/** Values between nodes. With their shapes declared, ONNX Runtime opens a graph in half the time. */
function inside(nodes: readonly Node[], { outputs }: Graph): Value[] {
  const known = new Set(outputs)
  return nodes.flatMap((n) => n.outputs).filter((v): v is Value => !!v?.shape && !known.has(v))
}

/** An output that is an input, a constant or a lowered value still needs a node of its own name. */
function passedThrough(graph: Graph, { nameOf }: Encoding): NodeProto[] {
  return graph.outputs
    .filter((v) => lowered(v) !== v || !v.producer)
    .map((v) =>
      create(NodeProtoSchema, {
        opType: 'Identity',
        name: `pass:${v.name}`,
        input: [nameOf(lowered(v))],
        output: [outputName(v)],
      }),
    )
}
const outputName = (v: Value): string => (v.producer ? v.name : `${v.name}:output`)

function nodeProto(node: Node, { nameOf, scopes }: Encoding): NodeProto {
  const [domain, opType] = node.op.includes('::') ? node.op.split('::') : ['', node.op]
  return create(NodeProtoSchema, {
    opType,
    domain,
    name: node.name,
    input: node.inputs.map((v) => (v ? nameOf(lowered(v)) : '')),
    output: node.outputs.map((v) => (v ? nameOf(v) : '')),
    metadataProps:
      scopes && node.scope
        ? [create(StringStringEntryProtoSchema, { key: scopesKey, value: `['${node.scope}', '']` })]
        : [],
    attribute: Object.entries(node.attributes).flatMap(([name, value]) =>
      privateAttributes.has(name) ? [] : [attributeProto(name, value)],
    ),
  })
}

type Fields = (
  fields: Omit<
    Extract<MessageInitShape<typeof AttributeProtoSchema>, { $typeName?: undefined }>,
    '$typeName'
  >,
) => AttributeProto
function attributeProto(name: string, value: Attribute): AttributeProto {
  const of: Fields = (fields) => create(AttributeProtoSchema, { name, ...fields })
  if (typeof value === 'number')
    return floatAttributes.has(name) || !Number.isInteger(value)
      ? of({ type: Type.FLOAT, f: value })
      : of({ type: Type.INT, i: BigInt(value) })
  if (typeof value === 'string') return of({ type: Type.STRING, s: Buffer.from(value) })
  if (isList(value)) return listAttribute(of, value)
  if ('tensor' in value)
    return of({
      type: Type.TENSOR,
      t: tensorOf('', value.tensor.dtype, value.tensor.shape, value.tensor.data),
    })
  return value.proto as AttributeProto
}
const isList = (v: Attribute): v is readonly number[] | readonly string[] => Array.isArray(v)
function listAttribute(of: Fields, value: readonly number[] | readonly string[]): AttributeProto {
  if (value.length > 0 && typeof value[0] === 'string')
    return of({ type: Type.STRINGS, strings: (value as string[]).map((s) => Buffer.from(s)) })
  const numbers = value as readonly number[]
  return numbers.every(Number.isInteger)
    ? of({ type: Type.INTS, ints: numbers.map(BigInt) })
    : of({ type: Type.FLOATS, floats: [...numbers] })
}

function tensorProto(value: Value, { place, nameOf }: Encoding): TensorProto {
  const at = place(value)
  const shape = value.shape as readonly number[]
  if (!at) return tensorOf(nameOf(value), value.dtype, shape, value.data as TensorData)
  const entries = { location: at.location, offset: `${at.offset}`, length: `${at.length}` }
  return create(TensorProtoSchema, {
    name: nameOf(value),
    dataType: dtypes[value.dtype].code,
    dims: shape.map(BigInt),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, v]) =>
      create(StringStringEntryProtoSchema, { key, value: v }),
    ),
  })
}
function tensorOf(
  name: string,
  dtype: Value['dtype'],
  shape: readonly number[],
  data: TensorData,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: dtypes[dtype].code,
    dims: shape.map(BigInt),
    rawData: readBytes(data),
  })
}

export function valueInfo(value: Pick<Value, 'dtype' | 'shape'>, name: string): ValueInfoProto {
  const tensor = create(TypeProto_TensorSchema, {
    elemType: dtypes[value.dtype].code,
    shape: value.shape ? shapeProto(value.shape) : undefined,
  })
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }),
  })
}
const shapeProto = (shape: Shape) =>
  create(TensorShapeProtoSchema, {
    dim: shape.map((d) =>
      create(TensorShapeProto_DimensionSchema, {
        value:
          typeof d === 'number' ? { case: 'dimValue', value: BigInt(d) } : { case: 'dimParam', value: d },
      }),
    ),
  })
