import {
  type AttachContext,
  type ConvSite,
  type EmbeddingSite,
  GraftError,
  type MergedWeight,
  normal,
  type Value,
  zeros,
  kaimingUniform,
} from '@graft-peft/core'
import type { LoraOptions } from './options.js'

interface Rank {
  r: number
  scale: number
}

/** Table + s·(B·A)ᵀ: A [r, rows] holds a column per token, of which only those in the batch are read. */
export function adaptEmbedding(
  { g, param }: AttachContext,
  site: EmbeddingSite,
  { r, scale }: Rank,
  { init_lora_weights }: LoraOptions,
): MergedWeight {
  const A = param(`${site.path}.lora_embedding_A`, {
    shape: [r, site.rows],
    init: init_lora_weights === false ? normal(1) : zeros,
  })
  const B = param(`${site.path}.lora_embedding_B`, { shape: [site.width, r], init: normal(1) })
  site.output.map((y, ids) => g.add(y, g.scale(g.linear(g.gather(g.swapLast(A), ids), B), scale)))
  return [site.weight, (w) => g.add(w, g.scale(g.matMul(A, B, { transA: true, transB: true }), scale))]
}

/** Convolution by A with the layer's own kernel into r channels, then by B, one by one. */
export function adaptConvolution(
  { g, param, dropout }: AttachContext,
  site: ConvSite,
  { r, scale }: Rank,
  options: LoraOptions,
): MergedWeight {
  const [out, into, ...kernel] = site.weight.shape
  if (Number(site.node.attributes.group ?? 1) !== 1)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method lora: ${site.path} is a grouped convolution, which LoRA can't target. Leave it out of target_modules.`,
    )
  const ones = kernel.map(() => 1)
  const A = param(`${site.path}.lora_A.weight`, { shape: [r, into, ...kernel], init: kaimingUniform })
  const B = param(`${site.path}.lora_B.weight`, {
    shape: [out, r, ...ones],
    init: options.init_lora_weights === false ? kaimingUniform : zeros,
  })
  site.output.map((y, x) => {
    const down = g.op('Conv', [dropout(x, options.lora_dropout, site.path), A], site.node.attributes)
    return g.add(y, g.scale(g.op('Conv', [down, B], { kernel_shape: ones }), scale))
  })
  const size = into * kernel.reduce((a, b) => a * b, 1)
  const product = () => g.matMul(g.reshape(B, [out, r]), g.reshape(A, [r, size]))
  return [site.weight, (w: Value) => g.add(w, g.scale(g.reshape(product(), [out, into, ...kernel]), scale))]
}
