import { existsSync, statSync } from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import { Builder } from '../graph/builder.js'
import { GraftError } from '../graph/errors.js'
import { Graph } from '../graph/graph.js'
import { ops } from '../graph/ops/index.js'
import type { Typed } from '../graph/ops/spec.js'
import { type Constant, type TensorData, type Value, outputOf } from '../graph/types.js'
import { attributeOf } from './attributes.js'
import { inlineFunctions } from './functions.js'
import {
  AttributeProto_AttributeType as Type,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type ValueInfoProto,
} from './gen/onnx-ml_pb.js'
import { type Expansion, expansionOf } from './expand.js'
import { conversions, newestIr, newestOpset, oldestOpset, type RawNode } from './opset.js'
import { locator } from './locate.js'
import { skim } from './skim.js'
import { byteLength, constantOf, floatValues, knownContents, type Locate, readBytes } from './tensors.js'
import { scopeOf } from './scopes.js'
import { typeOf } from './value-info.js'
import { isHalf, smallConstant, widen, widened } from './widen.js'
import { outerNames } from './outer-names.js'
import { fillOf } from './tensors.js'

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
    this.graph.outputs.push(...source.output.map((o) => this.output(o.name)))
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

  /** A constant as the graph computes with it: small ones in memory, where their contents are known, halves as float32. */
  private constant(name: string, constant: Constant): Value {
    this.checkLength(name, constant.data)
    const small = byteLength(constant.dtype, constant.shape) <= smallConstant
    const data: TensorData =
      small && 'file' in constant.data ? { bytes: readBytes(constant.data) } : constant.data
    if (!isHalf(constant.dtype)) {
      const own = { ...constant, data }
      return this.graph.addConstant(name, own, knownContents(own))
    }
    if (!small) return this.builder.cast(this.graph.addConstant(name, { ...constant, data }), 'float32')
    const floats = floatValues({ ...constant, data }) as Float32Array
    const wide: Constant = { ...constant, dtype: 'float32', data: { bytes: new Uint8Array(floats.buffer) } }
    return this.graph.addConstant(name, wide, knownContents(wide))
  }
  private checkLength(name: string, data: TensorData): void {
    if ('bytes' in data) return
    const size = this.sizes.get(data.file) ?? 0
    if (data.offset + data.length > size)
      throw new GraftError(
        'TRUNCATED_WEIGHTS',
        `${data.file}: ${name} should take bytes ${data.offset} to ${data.offset + data.length}, the file has ${size}. It is truncated; fetch or export it again.`,
      )
  }

  private declare(info: ValueInfoProto): void {
    const type = typeOf(info)
    if (type) this.declared.set(info.name, { ...type, dtype: widened(type.dtype) })
  }
  private input(info: ValueInfoProto): void {
    const written = typeOf(info)
    const type = written && { ...written, dtype: widened(written.dtype) }
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

  private output(name: string): Value {
    const value = this.get(name, 'the outputs')
    if (value) return value
    throw new GraftError(
      'DANGLING_NAME',
      'The graph has an output without a name. The model file is damaged.',
    )
  }

  private node(proto: NodeProto): void {
    const op =
      proto.domain === '' || proto.domain === 'ai.onnx' ? proto.opType : `${proto.domain}::${proto.opType}`
    if (op === 'Constant') return this.constantNode(proto)
    const where = `${proto.name || proto.output[0] || 'a node without a name'} (${op})`
    // What every object has by birth would be found in each table of operators.
    if (op in Object.prototype) throw new GraftError('ILLEGAL_NODE', `${where}: there is no such operator.`)
    const raw: RawNode = {
      op,
      inputs: trimmed(proto.input.map((name) => this.get(name, where))),
      attributes: Object.fromEntries(
        proto.attribute.map((a) => [a.name, attributeOf(a, where, this.checked)]),
      ),
      outputs: trimmed(proto.output.map((name) => name || null)),
    }
    widen(raw, where)
    try {
      this.graph.within(scopeOf(proto), () => this.place(raw, proto))
    } catch (cause) {
      if (cause instanceof GraftError) throw cause
      throw new GraftError(
        'ILLEGAL_NODE',
        `${where}: its inputs or attributes are not those of the operator (${(cause as Error).message}).`,
        { cause },
      )
    }
  }
  /** Adds a node as it is, or what stands for it: a branch, a plain form, this opset's spelling. */
  private place(raw: RawNode, proto: NodeProto): void {
    const { op } = raw
    const branch = this.branchOf(proto, raw)
    if (branch) return this.inline(branch, proto)
    const expansion = expansionOf(raw)
    if (expansion && !raw.inputs[0]) throw new Error('input 0 is missing')
    if (expansion) return this.expand(raw, proto, expansion)
    const conversion =
      proto.output.some((o) => this.captured.has(o)) && op === 'Identity' ? undefined : conversions[op]
    if (conversion && !raw.inputs[0]) throw new Error('input 0 is missing')
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
    const name = proto.output[0]
    const damaged = (why: string) =>
      new GraftError('ILLEGAL_NODE', `${proto.name || name} (Constant): ${why}. The model file is damaged.`)
    if (!attribute || !name) throw damaged(attribute ? 'it has no output' : 'it has no value')
    const given = attributeOf(attribute, `${proto.name || name} (Constant)`, this.checked)
    if (typeof given === 'object' && 'tensor' in given)
      return void this.values.set(name, this.constant(name, given.tensor))
    const float = attribute.type === Type.FLOAT || attribute.type === Type.FLOATS
    const scalar = typeof given === 'number'
    const values = scalar ? [given] : given
    if (!Array.isArray(values) || !values.every((v) => typeof v === 'number'))
      throw damaged(`its value is ${Type[attribute.type]}, expected numbers`)
    this.values.set(
      name,
      this.builder.constant(float ? 'float32' : 'int64', values, scalar ? [] : [values.length]),
    )
  }
}

const shapesKnown = (raw: RawNode): boolean => raw.inputs.every((v) => v === null || v.shape !== null)
const trimmed = <T>(list: (T | null)[]): (T | null)[] => {
  const end = list.findLastIndex((v) => v !== null)
  return list.slice(0, end + 1)
}
