import {
  type AttachContext,
  type ConvSite,
  type EmbeddingSite,
  GraftError,
  type MergedWeight,
  normal,
  type Site,
  type Value,
  zeros,
  kaimingUniform,
} from '@graft-peft/core'
import { attachConvolutionDora, attachEmbeddingDora } from './dora.js'
import type { LoraOptions } from './options.js'
import type { Rank } from './rank.js'

/** Table + s·(B·A)ᵀ: A [r, rows] holds a column per token, of which only those in the batch are read. */
export function adaptEmbedding(
  context: AttachContext,
  site: EmbeddingSite,
  { r, scale }: Rank,
  options: LoraOptions,
): MergedWeight[] {
  const { g, param } = context
  const { path, rows, width } = site
  if (options.lora_bias) throw unfit(site, 'lora_bias is for linear layers and convolutions')
  const A = param(`${path}.lora_embedding_A`, {
    shape: [r, rows],
    init: options.init_lora_weights === false ? normal(1) : zeros,
  })
  const B = param(`${path}.lora_embedding_B`, { shape: [width, r], init: normal(1) })
  const apply = (ids: Value) => g.scale(g.linear(g.gather(g.swapLast(A), ids), B), scale)
  if (options.use_dora) return [[site.weight, attachEmbeddingDora(context, { site, A, B, scale, apply })]]
  site.output.map((y, ids) => g.add(y, apply(ids)))
  return [[site.weight, (w) => g.add(w, g.scale(g.matMul(A, B, { transA: true, transB: true }), scale))]]
}

/** Convolution by A with the layer's own kernel into r channels, then by B, one by one. */
export function adaptConvolution(
  context: AttachContext,
  site: ConvSite,
  { r, scale }: Rank,
  options: LoraOptions,
): MergedWeight[] {
  const { g, param, dropout } = context
  const [out, into, ...kernel] = site.weight.shape
  refuseStart(context, site, options)
  if (Number(site.node.attributes.group ?? 1) !== 1)
    throw unfit(site, "LoRA can't target a grouped convolution")
  const ones = kernel.map(() => 1)
  const init = options.init_lora_weights
  const A = param(`${site.path}.lora_A.weight`, {
    shape: [r, into, ...kernel],
    init: init === 'gaussian' ? normal(1 / r) : kaimingUniform,
  })
  const B = param(`${site.path}.lora_B.weight`, {
    shape: [out, r, ...ones],
    init: init === false ? kaimingUniform : zeros,
    lrScale: options.loraplus_lr_ratio,
  })
  const bias = options.lora_bias
    ? param(`${site.path}.lora_B.bias`, { shape: [out], init: zeros })
    : undefined
  const apply = (x: Value) => {
    const down = g.op('Conv', [dropout(x, options.lora_dropout, site.path), A], site.node.attributes)
    return g.scale(g.op('Conv', [down, B, ...(bias ? [bias] : [])], { kernel_shape: ones }), scale)
  }
  if (options.use_dora)
    return [[site.weight, attachConvolutionDora(context, { site, A, B, scale, apply }, options.lora_dropout)]]
  site.output.map((y, x) => g.add(y, apply(x)))
  const size = into * kernel.reduce((a, b) => a * b, 1)
  const product = () => g.matMul(g.reshape(B, [out, r]), g.reshape(A, [r, size]))
  const weight: MergedWeight = [
    site.weight,
    (w: Value) => g.add(w, g.scale(g.reshape(product(), [out, into, ...kernel]), scale)),
  ]
  return bias ? [weight, mergedBias(site, g.scale(bias, scale), g)] : [weight]
}

/** The form of a bias that an update brings along. Throws NOT_MERGEABLE for a layer that has none to add it to. */
export function mergedBias(
  site: Extract<Site, { kind: 'linear' | 'conv' }>,
  bias: Value,
  g: AttachContext['g'],
): MergedWeight {
  if (!site.bias)
    throw new GraftError(
      'NOT_MERGEABLE',
      `lora_bias adds a bias to ${site.path}, which has none in the base model. Use the adapter beside its base.`,
    )
  return [site.bias, (b) => g.add(b, bias)]
}

/** As in HF PEFT, starts that read a linear layer's weight or inputs don't go with convolutions; embeddings start as they always do. */
function refuseStart(
  { inference }: AttachContext,
  site: Site,
  { init_lora_weights: init }: LoraOptions,
): void {
  if (!inference && typeof init === 'string' && init !== 'gaussian')
    throw unfit(site, `init_lora_weights: ${init} is for linear layers`)
}
const unfit = ({ path, kind }: Site, why: string): GraftError =>
  new GraftError(
    'BAD_METHOD_OPTION',
    `method lora: ${why}, and target_modules chooses ${path}, ${kind === 'conv' ? 'a convolution' : `an ${kind}`}. Leave one of them out.`,
  )
