import { type Graph, is, type Node, type Value, inputOf, outputOf } from '@graft-peft/onnx'
import { type AttentionSite, ValueSlot } from './site.js'

const isProduct = (node: Node): boolean =>
  is(node.op, 'product') && node.inputs.every((v) => !v?.data && (v?.shape?.length ?? 0) >= 3)

/** Finds every layer's attention by its shape, softmax(queries·keysᵀ)·values, in the order of the layers. */
export function attentions(graph: Graph): AttentionSite[] {
  return graph.sorted().flatMap((node) => {
    if (node.op !== 'Softmax') return []
    const scores = productAbove(inputOf(node))
    const mixed = productBelow(outputOf(node))
    const key = scores && heads(inputOf(scores, 1))
    const value = mixed && heads(inputOf(mixed, 1))
    if (!key || !value) return []
    const [count, width] = fixedAxes(key)
    const site: AttentionSite = {
      path: node.scope,
      heads: count,
      headWidth: width,
      query: heads(inputOf(scores)) ?? inputOf(scores),
      key: new ValueSlot(graph, node.scope, key),
      value: new ValueSlot(graph, node.scope, value),
    }
    return [site]
  })
}

/** The product whose scores reach a softmax. */
function productAbove(scores: Value): Node | undefined {
  const pending = [scores.producer]
  for (let seen = 0; pending.length > 0 && seen < 40; seen++) {
    const node = pending.shift()
    if (node && isProduct(node)) return node
    // Scales, masks, soft caps, casts, changes of shape.
    if (node && is(node.op, 'elementwise', 'view')) pending.push(...node.inputs.map((v) => v?.producer))
  }
  return undefined
}
/** The product that reads a softmax's probabilities from the left. */
function productBelow(probabilities: Value): Node | undefined {
  const pending = [probabilities]
  for (let seen = 0; pending.length > 0 && seen < 20; seen++) {
    const value = pending.shift() as Value
    for (const user of value.users) {
      if (isProduct(user) && user.inputs[0] === value) return user
      if (is(user.op, 'elementwise', 'view')) pending.push(outputOf(user))
    }
  }
  return undefined
}

/** The topmost value of heads, sequence and width that a product's operand is only a rearrangement of: what a cache would hold. */
function heads(operand: Value): Value | undefined {
  let found: Value | undefined
  for (let v: Value | undefined = operand; v; ) {
    if (isHeads(v)) found = v
    const { producer }: Value = v
    // Repeated for groups, transposed, scaled.
    if (!producer || !(producer.op === 'Transpose' || is(producer.op, 'view', 'repeat', 'scaling'))) break
    v = producer.inputs.find(
      (input): input is Value => !!input && !input.data && (input.shape?.length ?? 0) >= 3,
    )
  }
  return found
}
/** [batch, heads, sequence, width] in some order: one free axis besides the batch, and two of fixed size, heads before width. */
const isHeads = (v: Value): boolean => v.shape?.length === 4 && fixedAxes(v).length === 2
const fixedAxes = ({ shape }: Value): number[] =>
  (shape ?? []).slice(1).filter((d): d is number => typeof d === 'number')
/** Which axis of a value of heads is the sequence. */
export const sequenceAxis = ({ shape }: Value): number =>
  (shape ?? []).findIndex((d, i) => i > 0 && typeof d === 'string')
