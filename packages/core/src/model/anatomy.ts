import {
  type Builder,
  intAttribute,
  is,
  isFloat,
  type Node,
  readBytes,
  type TensorData,
  type Value,
  inputOf,
  outputOf,
} from '@graft-peft/onnx'
import { skippedModule, wrapperPrefix } from './paths.js'
import {
  type ConvSite,
  type EmbeddingSite,
  InputSlot,
  type LinearSite,
  type NormSite,
  QuantisedSlot,
  type Site,
  storedConstant,
  ValueSlot,
  WeightSlot,
} from './site.js'

/**
 * Finds the modules of a graph: linear layers, embeddings, norms and convolutions, with the paths their
 * exporter left.
 */
export function anatomy(g: Builder, exported = true): Site[] {
  const find = () => g.graph.sorted().flatMap((node) => finders[node.op]?.(g, node) ?? [])
  if (!exported) return find()
  completeScopes(g, find())
  unwrap(g, wrapperPrefix(find().map((s) => s.path)))
  nameNameless(find())
  return find()
}

/**
 * Optimisers and quantisers lose the names of modules, and with them which of two layers an equal weight
 * belonged to. What has none, and what only a shared weight's name stands for a second time, is numbered by
 * kind in the order of the graph: linear_0, linear_1, norm_0.
 */
function nameNameless(sites: readonly Site[]): void {
  const counts = new Map<string, number>()
  const taken = new Set<string>()
  for (const { kind, node, path } of sites) {
    const shared = kind !== 'embedding' && node.scope === '' && taken.has(path)
    taken.add(path)
    if (path !== '' && !shared) continue
    const k = counts.get(kind) ?? 0
    counts.set(kind, k + 1)
    node.scope = `${kind}_${k}`
  }
}

/** A model that calls a child's child directly leaves the child out of its scopes; parameters' names have it. */
function completeScopes({ graph }: Builder, sites: readonly Site[]): void {
  for (const { node, weight } of sites) {
    const skipped = skippedModule(node.scope, weight.storedName.match(parameterName)?.[1])
    if (!skipped) continue
    const { short, full } = skipped
    for (const n of graph.nodes)
      if (`${n.scope}.`.startsWith(`${short}.`)) n.scope = full + n.scope.slice(short.length)
  }
}

/** Takes the exporter's wrapper off all paths, so that what is written from here reads like the model itself. */
function unwrap({ graph }: Builder, prefix: string): void {
  if (prefix === '') return
  for (const node of graph.nodes)
    if (`${node.scope}.`.startsWith(prefix)) node.scope = node.scope.slice(prefix.length)
  for (const v of graph.constants())
    if (v.name.startsWith(prefix)) graph.rename(v, v.name.slice(prefix.length))
}

/** A parameter's name: a module's path, what it is to it, and what a quantiser or an optimiser wrote behind. */
const parameterName =
  /^([\w.]+?)(?:\.MatMul)?[._](?:weight|bias)(?:_(?:quantized|transposed|fp16|scales?|DequantizeLinear|Q\d+(?:G\d+)?|int[48]))*$/
type Finder = (g: Builder, node: Node) => Site | undefined
const isParameter = (v: Value | null | undefined, rank: number): v is Value =>
  !!v && !!storedConstant(v) && isFloat(v.dtype) && v.shape?.length === rank

/** The module a node belongs to: its scope, else the name of its parameter without ".weight" or ".bias". */
function pathOf(node: Node, ...parameters: (Value | null | undefined)[]): string {
  const named = parameters
    .map((v) => (v && (storedConstant(v) ?? v).name.match(parameterName)?.[1]) || undefined)
    .find(Boolean)
  return node.scope || named || ''
}

/** The bias added right after a product: Add with a vector parameter as long as the output is wide. */
function addedBias(y: Value): { node: Node; index: number } | undefined {
  const [user, ...others] = y.users
  if (others.length > 0 || user?.op !== 'Add') return undefined
  const index = user.inputs[0] === y ? 1 : 0
  const bias = user.inputs[index]
  return isParameter(bias, 1) && bias.shape?.[0] === y.shape?.at(-1) ? { node: user, index } : undefined
}

const linear: Finder = (g, node) => {
  const [x, w] = node.inputs
  if (!x || storedConstant(x) || !isParameter(w, 2) || intAttribute(node, 'transA', 0)) return undefined
  // A product that is scaled on the way is no layer whose weight can be merged into.
  if (['alpha', 'beta'].some((name) => (node.attributes[name] ?? 1) !== 1)) return undefined
  const transposed = intAttribute(node, 'transB', 0) === 0
  const [outFeatures, inFeatures] = (transposed ? [...(w.shape ?? [])].reverse() : w.shape) as number[]
  const y = outputOf(node)
  const fused = isParameter(node.inputs[2], 1) ? { node, index: 2 } : undefined
  const added = node.op === 'Gemm' ? fused : addedBias(y)
  const biasValue = added?.node.inputs[added.index]
  const path = pathOf(node, biasValue, w)
  const output = added && added.node !== node ? outputOf(added.node) : y
  const site: LinearSite = {
    kind: 'linear',
    path,
    inFeatures,
    outFeatures,
    node,
    input: new InputSlot(g.graph, node, 0),
    weight: new WeightSlot(g, node, 1, 'weight', transposed),
    bias: added && new WeightSlot(g, added.node, added.index, 'bias', false),
    output: new ValueSlot(g.graph, node.scope, output, x),
  }
  return site
}

/** A linear layer whose weight is kept in blocks of a few bits. */
const quantisedLinear: Finder = (g, node) => {
  const [x, packed, , , , fused] = node.inputs
  const y = outputOf(node)
  if (!x || !packed?.data) return undefined
  const added = isParameter(fused, 1) ? { node, index: 5 } : addedBias(y)
  const output = added && added.node !== node ? outputOf(added.node) : y
  const site: LinearSite = {
    kind: 'linear',
    path: pathOf(node, packed),
    inFeatures: intAttribute(node, 'K', 0),
    outFeatures: intAttribute(node, 'N', 0),
    node,
    input: new InputSlot(g.graph, node, 0),
    weight: new QuantisedSlot(g, node, 'weight'),
    bias: added && new WeightSlot(g, added.node, added.index, 'bias', false),
    output: new ValueSlot(g.graph, node.scope, output, x),
  }
  return site
}

const embedding: Finder = (g, node) => {
  const [table, indices] = node.inputs
  if (
    !isParameter(table, 2) ||
    !(indices?.dtype === 'int64' || indices?.dtype === 'int32') ||
    intAttribute(node, 'axis', 0) !== 0
  )
    return undefined
  const [rows, width] = table.shape as number[]
  const site: EmbeddingSite = {
    kind: 'embedding',
    path: pathOf(node, table),
    rows,
    width,
    node,
    weight: new WeightSlot(g, node, 0, 'weight', false),
    output: new ValueSlot(g.graph, node.scope, outputOf(node), indices as Value),
    result: new ValueSlot(g.graph, node.scope, scaledWithin(node), indices as Value),
  }
  return site
}
/** The value after the elementwise operators that the same module applies to what a node makes. */
function scaledWithin(node: Node): Value {
  let value = outputOf(node)
  for (;;) {
    const [user, ...others] = value.users
    if (
      !user ||
      others.length > 0 ||
      node.scope === '' ||
      user.scope !== node.scope ||
      !is(user.op, 'scaling')
    )
      return value
    value = outputOf(user)
  }
}

const norm: Finder = (g, node) => {
  const bias = node.inputs[2]
  unfoldUnitOffset(g, node)
  const offset = node.inputs[1]?.producer
  const holder =
    offset?.op === 'Add' && isParameter(offset.inputs[0], 1) && isOne(offset.inputs[1])
      ? { node: offset, index: 0 }
      : { node, index: 1 }
  const scale = holder.node.inputs[holder.index]
  if (!isParameter(scale, 1)) return undefined
  const site: NormSite = {
    kind: 'norm',
    path: pathOf(node, scale),
    node,
    weight: new WeightSlot(g, holder.node, holder.index, 'weight', false),
    bias: isParameter(bias, 1) ? new WeightSlot(g, node, 2, 'bias', false) : undefined,
  }
  return site
}

const isOne = (v: Value | null | undefined): boolean => v?.known?.length === 1 && Number(v.known[0]) === 1

/**
 * Some norms scale by 1 + w (Gemma). PyTorch's exporters fold the sum into one constant, called after the
 * addition or after its user, never after a module; the parameter is that constant less one. Taken apart
 * here, so that what is trained and stored is the parameter.
 */
function unfoldUnitOffset(g: Builder, node: Node): void {
  const sum = node.inputs[1]
  if (!isParameter(sum, 1) || sum.dtype !== 'float32' || !/^(add(_\d+)?|onnx::Mul_\d+)$/.test(sum.name))
    return
  const bytes = new Uint8Array(readBytes(sum.data as TensorData))
  const values = new Float32Array(bytes.buffer, 0, sum.shape?.[0] as number).map((v) => v - 1)
  const weight = g.graph.addConstant(`${node.scope}.weight`, {
    dtype: 'float32',
    shape: sum.shape as number[],
    data: { bytes: new Uint8Array(values.buffer) },
  })
  const scale = g.graph.within(node.scope, () => g.add(weight, g.constant('float32', [1], [])))
  g.graph.setInput(node, 1, scale)
}

const conv: Finder = (g, node) => {
  const [, w, bias] = node.inputs
  if (!w || !storedConstant(w)) return undefined
  const site: ConvSite = {
    kind: 'conv',
    path: pathOf(node, w, bias),
    node,
    input: new InputSlot(g.graph, node, 0),
    output: new ValueSlot(g.graph, node.scope, outputOf(node), inputOf(node)),
    weight: new WeightSlot(g, node, 1, 'weight', false),
    bias: isParameter(bias, 1) ? new WeightSlot(g, node, 2, 'bias', false) : undefined,
  }
  return site
}

const finders: Record<string, Finder> = {
  MatMul: linear,
  'com.microsoft::FusedMatMul': linear,
  Gemm: linear,
  'com.microsoft::MatMulNBits': quantisedLinear,
  Gather: embedding,
  LayerNormalization: norm,
  SimplifiedLayerNormalization: norm,
  Conv: conv,
}
