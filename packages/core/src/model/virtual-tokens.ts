import { type Builder, shapeOf, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { sequenceAxis } from './attention.js'
import type { Model } from './model.js'

/**
 * Virtual tokens on any imported graph: texts are fed with dummy tokens in front, so every mask, position and shape the graph
 * computes is already right, and what the graph made of the dummies is overwritten here.
 */

/**
 * Puts `prompt` [T, width], or [batch, T, width], in place of the embeddings of the first T tokens.
 *
 * @throws NO_TOKENS for a model that takes none.
 */
export function overwriteEmbeddings(model: Model, prompt: Value): void {
  const { g, tokenEmbedding } = model
  if (!tokenEmbedding) throw noTokens(model)
  tokenEmbedding.result.map((y) =>
    leading(g, y, prompt.shape?.length === 3 ? prompt : g.unsqueeze(prompt, [0]), 1),
  )
}

/** Puts learned keys and values in place of every layer's first T; `prefix` [T, 2·layers·heads·width], key then value, layer by layer. */
export function overwriteKeysAndValues(model: Model, prefix: Value): void {
  const { g, attentions } = model
  const count = shapeOf(prefix)[0] as number
  attentions.forEach(({ heads, headWidth, key, value }, layer) => {
    const width = heads * headWidth
    ;[key, value].forEach((slot, i) => {
      const part = g.slice(prefix, (2 * layer + i) * width, (2 * layer + i + 1) * width, 1)
      slot.map((v) => {
        const axis = sequenceAxis(v)
        const order = [1, 2]
        order.splice(axis - 1, 0, 0)
        const perHead = g.transpose(g.reshape(part, [count, heads, headWidth]), order)
        return leading(g, v, g.unsqueeze(perHead, [0]), axis)
      })
    })
  })
}

/** y with its first entries along an axis replaced by `first`, which has one batch entry. */
function leading(g: Builder, y: Value, first: Value, axis: number): Value {
  const shape = shapeOf(y)
  const count = shapeOf(first)[axis] as number
  const repeated = g.expand(first, [shape[0], ...shapeOf(first).slice(1)])
  const rest = g.slice(y, count, Number.MAX_SAFE_INTEGER, axis)
  return g.reshape(g.concat([repeated, rest], axis), shape)
}

/**
 * Takes the first `count` tokens away where the model turns a sequence into one vector (a pooler, a mean): they
 * stood for no input.
 *
 * @throws NO_INPUT for a model that takes no input_ids.
 */
export function hideFromPoolers(model: Model, count: number): void {
  const { g, graph } = model
  const sequence = shapeOf(model.input('input_ids'))[1]
  const last = model.attentions.at(-1)?.value.value
  if (!last) return
  const above = new Set([last])
  for (const node of graph.sorted()) {
    if (!node.inputs.some((v) => v && above.has(v))) continue
    // What picks a position that the mask gave already counts the virtual tokens.
    const pooled =
      node.op !== 'GatherND' &&
      node.outputs.every((v) => v && !v.shape?.some((d) => `${d}`.includes(`${sequence}`)))
    node.inputs.forEach((v, i) => {
      if (pooled && v && above.has(v) && v.shape?.length === 3 && v.shape[1] === sequence)
        graph.setInput(node, i, g.slice(v, count, Number.MAX_SAFE_INTEGER, 1))
    })
    for (const v of node.outputs) if (v) above.add(v)
  }
}

/**
 * The width of a token's embedding.
 *
 * @throws NO_TOKENS for a model that takes none.
 */
export function embeddingWidth(model: Model): number {
  if (!model.tokenEmbedding) throw noTokens(model)
  return model.tokenEmbedding.width
}
const noTokens = ({ file, graph }: Model) =>
  new GraftError(
    'NO_TOKENS',
    `${file}: virtual tokens need a model with input_ids and an embedding of them; its inputs are ${graph.inputs.map((v) => v.name).join(', ')}. Choose a method that adapts weights, such as lora.`,
  )
