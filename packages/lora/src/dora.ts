import {
  type AttachContext,
  type ConvSite,
  copyOf,
  type EmbeddingSite,
  type LinearSite,
  Random,
  type Value,
  type WeightSlot,
} from '@graft-peft/core'

/**
 * Weight-decomposed LoRA (Liu et al., 2024, arXiv 2402.09353): each output of W + s·B·A is rescaled to a trained magnitude m, its norm
 * detached, as HF PEFT's DoraLinearLayer, DoraEmbeddingLayer and DoraConvNdLayer. Written once for a matrix [out, in]: a convolution's
 * kernel is one, an embedding's table lies turned.
 */
interface Matrix {
  weight: WeightSlot
  path: string
  /** numbers that m rescales, and the shape HF PEFT's file gives m */
  outputs: number
  shape: readonly number[]
  /** the table of an embedding, [in, out] */
  turned?: boolean
  /** A [r, in], B [out, r] */
  A: Value
  B: Value
  scale: number
  /** W·Aᵀ, [out, r] */
  cross(): Value
}

/** m / ‖W + s·B·A‖, one number per output. */
function ratioOf({ g, param, buffer }: AttachContext, matrix: Matrix): Value {
  const { path, outputs, shape, weight } = matrix
  const norms = (random: Random) => outputNorms(weight, outputs, matrix.turned ?? false, random)
  const m = param(`${path}.lora_magnitude_vector`, {
    shape,
    init: (_, random) => norms(random).map(Math.sqrt),
  })
  const squares = buffer(`${path}.row_norms`, {
    shape: [outputs],
    stored: false,
    init: (_, random) => norms(random),
  })
  return g.div(shape.length === 1 ? m : g.reshape(m, [outputs]), g.stopGradient(norm({ g }, matrix, squares)))
}

/** Norms of the rows of W + s·B·A, from ‖w‖², W·Aᵀ and A·Aᵀ: the sum itself, as large as W, is never made. */
function norm({ g }: Pick<AttachContext, 'g'>, { A, B, scale, cross }: Matrix, squares: Value): Value {
  const inner = g.matMul(A, A, { transB: true })
  const both = g.reduceSum(
    g.mul(B, g.add(g.scale(cross(), 2 * scale), g.scale(g.matMul(B, inner), scale * scale))),
    [1],
    false,
  )
  return g.sqrt(g.add(squares, both))
}

/** ‖w‖² of what each output is made of. */
function outputNorms(slot: WeightSlot, outputs: number, turned: boolean, random: Random): Float32Array {
  const w = copyOf(slot)(slot.shape, random)
  const each = w.length / outputs
  const sums = new Float64Array(outputs)
  for (let i = 0; i < w.length; i++) sums[turned ? i % outputs : Math.floor(i / each)] += w[i] * w[i]
  return Float32Array.from(sums)
}

/** A low-rank update x ↦ s·B·A·x of one layer. */
interface Update<S> {
  site: S
  A: Value
  B: Value
  scale: number
  /** s·B·A·dropout(x) */
  apply(x: Value): Value
}

/** The bias is left out of the scaling. Returns the form for merging. */
export function attachDora(
  context: AttachContext,
  { site, A, B, scale, apply }: Update<LinearSite>,
  p: number,
): (w: Value) => Value {
  const { g, dropout } = context
  const { path, outFeatures: outputs, weight, bias } = site
  const cross = () => g.swapLast(weight.applyTo(A))
  const ratio = ratioOf(context, { weight, path, outputs, shape: [outputs], A, B, scale, cross })
  site.output.map((y, x) => {
    const own = p === 0 ? (bias ? g.sub(y, bias.value) : y) : weight.applyTo(dropout(x, p, path))
    return g.add(y, g.add(g.mul(g.sub(ratio, g.scalar(1)), own), g.mul(ratio, apply(x))))
  })
  return (w) => g.mul(g.add(w, g.scale(g.matMul(B, A), scale)), g.unsqueeze(ratio, [1]))
}

/** The same for a table of tokens: m has a number per column, whose norm runs over the whole vocabulary. */
export function attachEmbeddingDora(
  context: AttachContext,
  { site, A, B, scale, apply }: Update<EmbeddingSite>,
): (w: Value) => Value {
  const { g } = context
  const { path, width: outputs, weight } = site
  const table = weight.value
  const cross = () => g.swapLast(g.matMul(A, table))
  const ratio = ratioOf(context, {
    weight,
    path,
    outputs,
    shape: [outputs],
    turned: true,
    A,
    B,
    scale,
    cross,
  })
  site.output.map((y, ids) => g.mul(g.add(y, apply(ids)), ratio))
  return (w) => g.mul(g.add(w, g.scale(g.matMul(A, B, { transA: true, transB: true }), scale)), ratio)
}

/** The same for a convolution; A [r, in, k…] and B [out, r, 1…] as they convolve. */
export function attachConvolutionDora(
  context: AttachContext,
  { site, A, B, scale, apply }: Update<ConvSite>,
  p: number,
): (w: Value) => Value {
  const { g, dropout } = context
  const { path, weight, bias } = site
  const [outputs, ...rest] = weight.shape
  const [r, size] = [A.shape?.[0] as number, rest.reduce((a, b) => a * b, 1)]
  const ones = rest.slice(1).map(() => 1)
  const flat = { A: g.reshape(A, [r, size]), B: g.reshape(B, [outputs, r]) }
  const cross = () => g.matMul(g.reshape(weight.value, [outputs, size]), flat.A, { transB: true })
  const shape = [1, outputs, ...ones]
  const ratio = g.reshape(ratioOf(context, { weight, path, outputs, shape, ...flat, scale, cross }), [
    outputs,
    ...ones,
  ])
  const kernel = weight.value
  site.output.map((y, x) => {
    const own =
      p > 0 ? g.op('Conv', [dropout(x, p, path), kernel], site.node.attributes)
      : bias ? g.sub(y, g.reshape(bias.value, [outputs, ...ones]))
      : y // biome-ignore format: a table
    return g.add(y, g.add(g.mul(g.sub(ratio, g.scalar(1)), own), g.mul(ratio, apply(x))))
  })
  const rescale = g.reshape(ratio, [outputs, 1, ...ones])
  const product = () => g.reshape(g.scale(g.matMul(flat.B, flat.A), scale), weight.shape)
  return (w) => g.mul(g.add(w, product()), rescale)
}
