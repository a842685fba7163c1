import type { Graph } from '../graph/graph.js'
import type { Builder } from '../graph/builder.js'
import { type Attribute, dtypes, intAttribute, type Value, inputOf } from '../graph/types.js'

/** The one opset every graph is brought to: the newest that ONNX Runtime 1.20 knows. */
export const targetOpset = 21
export const targetIr = 10
/** Versions the importer takes. */
export const oldestOpset = 13
export const newestOpset = 26
export const newestIr = 13

/** A node as read, before it joins the graph. */
export interface RawNode {
  op: string
  inputs: (Value | null)[]
  attributes: Record<string, Attribute>
  outputs: (string | null)[]
}
/** Rewrites a node to the target opset: a changed node, or the value that stands for its first output. */
type Conversion = (node: RawNode, b: Builder, graph: Graph) => RawNode | Value

const axesToInput: Conversion = (node, b) => {
  const { axes, ...attributes } = node.attributes
  return Array.isArray(axes)
    ? { ...node, attributes, inputs: [node.inputs[0], b.ints(axes as number[])] }
    : node
}
const rename =
  (op: string, extra: Record<string, Attribute> = {}): Conversion =>
  (node) => ({ ...node, op, attributes: { ...node.attributes, ...extra } })

/** Adds the bias that a fused activation takes as its second input, then applies the plain operator. */
const biased =
  (op: string, extra: Record<string, Attribute> = {}): Conversion =>
  (node, b) => {
    const [x, bias] = node.inputs
    return { ...node, op, attributes: extra, inputs: [bias ? b.add(x as Value, bias) : x] }
  }
const alias: Conversion = (node) => inputOf(node)
const castAway: Conversion = (node) => {
  const x = inputOf(node)
  const to = intAttribute(node, 'to', 0)
  return to === dtypes[x.dtype].code ? x : { ...node, attributes: { to } }
}

const splitSizes: Conversion = (node): RawNode => {
  if (node.inputs[1]) return { ...node, attributes: { axis: node.attributes.axis ?? 0 } }
  return {
    ...node,
    inputs: [node.inputs[0]],
    attributes: { axis: node.attributes.axis ?? 0, num_outputs: node.outputs.length },
  }
}
/** Exported for inference: dropout does nothing. */
const noDropout: Conversion = (node) => (node.outputs[1] ? node : inputOf(node))

export const conversions: Record<string, Conversion> = {
  ...Object.fromEntries(
    ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'LogSum', 'LogSumExp', 'SumSquare'].map((k) => [
      `Reduce${k}`,
      axesToInput,
    ]),
  ),
  Squeeze: axesToInput,
  Unsqueeze: axesToInput,
  Split: splitSizes,
  Identity: alias,
  Cast: castAway,
  Dropout: noDropout,
  RMSNormalization: rename('SimplifiedLayerNormalization'),
  Swish: (node) => ({
    ...node,
    op: 'com.microsoft::QuickGelu',
    attributes: { alpha: node.attributes.alpha ?? 1 },
  }),
  'com.microsoft::Gelu': rename('Gelu'),
  'com.microsoft::BiasGelu': biased('Gelu'),
  'com.microsoft::FastGelu': biased('Gelu', { approximate: 'tanh' }),
}
