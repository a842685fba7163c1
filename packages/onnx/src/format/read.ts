import { existsSync, statSync } from 'node:fs'
import { dirname, isAbsolute, resolve, sep } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { Builder } from '../graph/builder.js'
import { addDims, type Dim, formula } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import { Graph } from '../graph/graph.js'
import { ops } from '../graph/ops/index.js'
import type { Typed } from '../graph/ops/spec.js'
import {
  type Attribute,
  type Constant,
  dtypeOfCode,
  type TensorData,
  type Value,
  outputOf,
} from '../graph/types.js'
import { inlineFunctions } from './functions.js'
import {
  type AttributeProto,
  AttributeProto_AttributeType as Type,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type ValueInfoProto,
} from './gen/onnx-ml_pb.js'
import { type Expansion, expansionOf } from './expand.js'
import { conversions, newestIr, newestOpset, oldestOpset, type RawNode } from './opset.js'
import { selfLocation, skim } from './skim.js'
import { constantOf, knownContents, type Locate, numbersOf } from './tensors.js'
import { scopeOf } from './scopes.js'

export interface ReadOptions {
  /** take a decoder's inputs for past keys and values away: what it does with none */
  withoutCache?: boolean
}
/** The input by which Optimum's merged decoders choose whether to read the cache. */
const cacheSwitch = 'use_cache_branch'
const isPast = (name: string): boolean => /^past_key_values?[._]/.test(name) || /^past_\d+$/.test(name)

/** Opens an ONNX file as a graph of one opset. Weights stay where they are; only small constants are read.
 *  Throws FILE_NOT_FOUND, TRUNCATED_MODEL, NOT_ONNX, UNSUPPORTED_OPSET, TRUNCATED_WEIGHTS, ESCAPING_PATH, ILLEGAL_NODE. */
export function readOnnx(path: string, { withoutCache = false }: ReadOptions = {}): Graph {
  if (!existsSync(path)) throw new GraftError('FILE_NOT_FOUND', `${path}: no such file.`)
  let model: ModelProto
  try {
    model = fromBinary(ModelProtoSchema, skim(path))
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError('NOT_ONNX', `${path}: not an ONNX model (${(cause as Error).message}).`, { cause })
  }
  checkVersions(model, path)
  return new Import(model, locator(path), withoutCache).graph
}

function checkVersions(model: ModelProto, path: string): void {
  if (!model.graph) throw new GraftError('NOT_ONNX', `${path}: the file holds no graph.`)
  const opset = Number(model.opsetImport.find((o) => o.domain === '' || o.domain === 'ai.onnx')?.version ?? 0)
  if (opset < oldestOpset || opset > newestOpset || Number(model.irVersion) > newestIr)
    throw new GraftError(
      'UNSUPPORTED_OPSET',
      `${path}: opset ${opset}, IR ${model.irVersion}; Graft reads opset ${oldestOpset}–${newestOpset} with IR up to ${newestIr}. Export again with opset_version=20.`,
    )
}

/** Resolves external-data locations: inside the model's folder only, and only whole tensors. */
function locator(path: string): Locate {
  const folder = resolve(dirname(path))
  return (location, tensor) => {
    if (location === selfLocation) return resolve(path)
    const file = resolve(folder, location)
    if (isAbsolute(location) || !file.startsWith(folder + sep))
      throw new GraftError(
        'ESCAPING_PATH',
        `${path}: tensor ${tensor} points outside the model's folder (${location}). Refused.`,
      )
    if (!existsSync(file))
      throw new GraftError(
        'FILE_NOT_FOUND',
        `${path}: the weights of ${tensor} should lie in ${file}, which doesn't exist. Copy the data file beside the model.`,
      )
    return file
  }
}

class Import {
  readonly graph = new Graph()
  private readonly builder = new Builder(this.graph)
  private readonly values = new Map<string, Value>()
  private readonly declared = new Map<string, Typed>()
  private readonly captured = new Set<string>()
  private readonly sizes = new Map<string, number>()

  constructor(
    model: ModelProto,
    private readonly locate: Locate,
    private readonly withoutCache: boolean,
  ) {
    const source = model.graph as GraphProto
    const nodes = inlineFunctions(model)
    for (const node of nodes) for (const name of outerNames(node)) this.captured.add(name)
    for (const info of [...source.valueInfo, ...source.output]) this.declare(info)
    for (const tensor of source.initializer)
      this.values.set(tensor.name, this.constant(tensor.name, constantOf(tensor, this.checked)))
    const inputs = source.input.filter((info) => !this.values.has(info.name))
    for (const info of [...inputs].sort((a, b) => Number(isPast(a.name)) - Number(isPast(b.name))))
      this.input(info)
    for (const node of nodes) this.node(node)
    this.graph.outputs.push(...source.output.map((o) => this.get(o.name, 'the outputs') as Value))
    // An Identity in front of an output is dropped on the way in; its name is what the world knows.
    this.graph.outputs.forEach(
      (v, i) =>
        v.producer && this.graph.outputs.indexOf(v) === i && this.graph.rename(v, source.output[i].name),
    )
    this.graph.prune()
  }

  private readonly checked: Locate = (location, tensor) => {
    const file = this.locate(location, tensor)
    if (!this.sizes.has(file)) this.sizes.set(file, statSync(file).size)
    return file
  }

  private constant(name: string, constant: Constant): Value {
    this.checkLength(name, constant.data)
    return this.graph.addConstant(name, constant, knownContents(constant))
  }
  private checkLength(name: string, data: TensorData): void {
    if ('bytes' in data) return
    const size = this.sizes.get(data.file) ?? 0
    if (data.offset < 0 || data.offset + data.length > size)
      throw new GraftError(
        'TRUNCATED_WEIGHTS',
        `${data.file}: ${name} should take bytes ${data.offset} to ${data.offset + data.length}, the file has ${size}. It is truncated; fetch or export it again.`,
      )
  }

  private declare(info: ValueInfoProto): void {
    const type = typeOf(info)
    if (type) this.declared.set(info.name, type)
  }
  private input(info: ValueInfoProto): void {
    const type = typeOf(info)
    if (!type?.shape)
      throw new GraftError(
        'UNTYPED_INPUT',
        `Input ${info.name} has no tensor type and shape. Export the model with typed inputs.`,
      )
    if (!this.withoutCache)
      return void this.values.set(info.name, this.graph.addInput(info.name, type.dtype, type.shape))
    if (info.name === cacheSwitch)
      return void this.values.set(info.name, this.builder.constant('bool', [0], [...type.shape] as number[]))
    // Without a past all tokens are new: what an exporter calls the total is the sequence.
    const total =
      info.name === 'attention_mask'
        ? this.graph.inputs.find((v) => v.name === 'input_ids')?.shape?.[1]
        : undefined
    if (isPast(info.name))
      this.values.set(
        info.name,
        this.builder.constant(
          type.dtype,
          [],
          [1, ...(type.shape.slice(1).map((d, i) => (i === 1 ? 0 : d)) as number[])],
        ),
      )
    else
      this.values.set(
        info.name,
        this.graph.addInput(info.name, type.dtype, total === undefined ? type.shape : [type.shape[0], total]),
      )
  }
  private get(name: string, where: string): Value | null {
    if (name === '') return null
    const value = this.values.get(name)
    if (!value)
      throw new GraftError(
        'DANGLING_NAME',
        `${where} reads ${name}, which nothing makes. The model file is damaged.`,
      )
    return value
  }

  private node(proto: NodeProto): void {
    const op =
      proto.domain === '' || proto.domain === 'ai.onnx' ? proto.opType : `${proto.domain}::${proto.opType}`
    if (op === 'Constant') return this.constantNode(proto)
    const where = proto.name || proto.output[0]
    const raw: RawNode = {
      op,
      inputs: trimmed(proto.input.map((name) => this.get(name, where))),
      attributes: Object.fromEntries(proto.attribute.map((a) => [a.name, this.attribute(a)])),
      outputs: trimmed(proto.output.map((name) => name || null)),
    }
    this.graph.within(scopeOf(proto), () => this.place(raw, proto))
  }
  /** Adds a node as it is, or what stands for it: a branch, a plain form, this opset's spelling. */
  private place(raw: RawNode, proto: NodeProto): void {
    const { op } = raw
    const branch = this.branchOf(proto, raw)
    if (branch) return this.inline(branch, proto)
    const expansion = expansionOf(raw)
    if (expansion) return this.expand(raw, proto, expansion)
    const conversion =
      proto.output.some((o) => this.captured.has(o)) && op === 'Identity' ? undefined : conversions[op]
    const converted = conversion ? conversion(raw, this.builder, this.graph) : raw
    if ('users' in converted) this.values.set(proto.output[0], converted)
    else this.add(converted, proto)
  }
  /** Puts a fused operator's plain form in its place. Throws UNSUPPORTED_OPERATOR for a variant that has none. */
  private expand(raw: RawNode, proto: NodeProto, expansion: Expansion): void {
    try {
      expansion(raw, this.builder).forEach((value, i) => {
        if (value && proto.output[i]) this.values.set(proto.output[i], value)
      })
    } catch (cause) {
      if (cause instanceof GraftError) throw cause
      throw new GraftError(
        'UNSUPPORTED_OPERATOR',
        `Node ${proto.name || proto.output[0]}: ${(cause as Error).message}.`,
        { cause },
      )
    }
  }
  /** The branch of an If whose condition is known: merged decoders choose by an input between reading a cache and none. */
  private branchOf(proto: NodeProto, { op, inputs }: RawNode): GraphProto | undefined {
    const condition = op === 'If' ? inputs[0]?.known?.[0] : undefined
    if (condition === undefined) return undefined
    return proto.attribute.find((a) => a.name === (condition ? 'then_branch' : 'else_branch'))?.g
  }
  private inline(branch: GraphProto, proto: NodeProto): void {
    for (const tensor of branch.initializer)
      this.values.set(tensor.name, this.constant(tensor.name, constantOf(tensor, this.checked)))
    for (const node of branch.node) this.node(node)
    branch.output.forEach((o, i) => {
      this.values.set(proto.output[i], this.get(o.name, 'a branch') as Value)
    })
  }
  private add(raw: RawNode, proto: NodeProto): void {
    const captures = outerNames(proto).flatMap((name) => this.values.get(name) ?? [])
    if (raw.op === 'ConstantOfShape') raw.attributes.fill = fillOf(raw.attributes)
    const node = this.graph.addNode(raw.op, raw.inputs, raw.attributes, {
      outputs: raw.outputs,
      name: proto.name || `${raw.op}_${proto.output[0]}`,
      captures: captures.length > 0 ? captures : undefined,
      declared: ops[raw.op] && shapesKnown(raw) ? undefined : this.declared,
    })
    raw.outputs.forEach((name, i) => {
      if (name) this.values.set(name, outputOf(node, i))
    })
  }

  private constantNode(proto: NodeProto): void {
    const [attribute] = proto.attribute
    const given = this.attribute(attribute)
    const name = proto.output[0]
    if (typeof given === 'object' && 'tensor' in given)
      return void this.values.set(name, this.constant(name, given.tensor))
    const float = attribute.type === Type.FLOAT || attribute.type === Type.FLOATS
    const scalar = typeof given === 'number'
    const values = (scalar ? [given] : given) as readonly number[]
    this.values.set(
      name,
      this.builder.constant(float ? 'float32' : 'int64', values, scalar ? [] : [values.length]),
    )
  }

  private attribute(a: AttributeProto): Attribute {
    const decode = (bytes: Uint8Array) => Buffer.from(bytes).toString()
    if (a.type === Type.FLOAT) return a.f
    if (a.type === Type.INT) return Number(a.i)
    if (a.type === Type.STRING) return decode(a.s)
    if (a.type === Type.FLOATS) return [...a.floats]
    if (a.type === Type.INTS) return a.ints.map(Number)
    if (a.type === Type.STRINGS) return a.strings.map(decode)
    if (a.type === Type.TENSOR && a.t) return { tensor: constantOf(a.t, this.checked) }
    return { proto: a }
  }
}

const shapesKnown = (raw: RawNode): boolean => raw.inputs.every((v) => v === null || v.shape !== null)
const trimmed = <T>(list: (T | null)[]): (T | null)[] => {
  const end = list.findLastIndex((v) => v !== null)
  return list.slice(0, end + 1)
}
function fillOf(attributes: Record<string, Attribute>): number {
  const value = attributes.value as { tensor: Constant } | undefined
  return value ? (numbersOf(value.tensor)?.[0] ?? Number.NaN) : 0
}

/** Names that a node's subgraphs read from outside themselves. */
function outerNames(node: NodeProto): string[] {
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

function typeOf(info: ValueInfoProto): Typed | undefined {
  if (info.type?.value.case !== 'tensorType') return undefined
  const { elemType, shape } = info.type.value.value
  const dtype = dtypeOfCode(elemType)
  const dims = shape?.dim.map((d, i): Dim => {
    if (d.value.case === 'dimValue') return Number(d.value.value)
    return d.value.case === 'dimParam' && d.value.value !== ''
      ? symbol(d.value.value)
      : formula(`${info.name}.${i}`)
  })
  return dtype && { dtype, shape: dims ?? null }
}
/** A name, a sum of names and numbers ("past_sequence + sequence"), or a text of its own. */
function symbol(name: string): Dim {
  const terms = name.split('+').map((t) => t.trim())
  if (!terms.every((t) => /^[\w.]+$/.test(t))) return formula(name)
  return terms.map((t): Dim => (/^\d+$/.test(t) ? Number(t) : t)).reduce(addDims)
}
