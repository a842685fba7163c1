import {
  type AttachContext,
  copyOf,
  type Initialiser,
  type LinearSite,
  Random,
  type Value,
  type WeightSlot,
} from '@graft-peft/core'

/** A low-rank update x ↦ s·B·A·x of one linear layer. */
export interface Update {
  site: LinearSite
  A: Value
  B: Value
  scale: number
  /** s·B·A·dropout(x) */
  apply(x: Value): Value
}

/**
 * Weight-decomposed LoRA (Liu et al., 2024, arXiv 2402.09353): each row of W + s·B·A is rescaled to a trained magnitude m. The
 * norm is detached, the bias left out of the scaling, as HF PEFT's DoraLinearLayer. Returns the form for merging.
 */
export function attachDora(
  { g, param, buffer, dropout }: AttachContext,
  { site, A, B, scale, apply }: Update,
  p: number,
): (w: Value) => Value {
  const { path, outFeatures, weight, bias } = site
  const m = param(`${path}.lora_magnitude_vector`, {
    shape: [outFeatures],
    init: (_, random) => rowNorms(weight, random).map(Math.sqrt),
  })
  const squares = buffer(`${path}.row_norms`, {
    shape: [outFeatures],
    stored: false,
    init: (_, random) => rowNorms(weight, random),
  })
  const ratio = g.div(m, g.stopGradient(norm({ g }, { site, A, B, scale }, squares)))
  site.output.map((y, x) => {
    const own = p === 0 ? (bias ? g.sub(y, bias.value) : y) : weight.applyTo(dropout(x, p, path))
    return g.add(y, g.add(g.mul(g.sub(ratio, g.scalar(1)), own), g.mul(ratio, apply(x))))
  })
  return (w) => g.mul(g.add(w, g.scale(g.matMul(B, A), scale)), g.unsqueeze(ratio, [1]))
}

/** Norms of the rows of W + s·B·A, from ‖w‖², W·Aᵀ and A·Aᵀ: the sum itself, as large as W, is never made. */
function norm(
  { g }: Pick<AttachContext, 'g'>,
  { site, A, B, scale }: Omit<Update, 'apply'>,
  squares: Value,
): Value {
  const cross = g.swapLast(site.weight.applyTo(A))
  const inner = g.matMul(A, A, { transB: true })
  const both = g.reduceSum(
    g.mul(B, g.add(g.scale(cross, 2 * scale), g.scale(g.matMul(B, inner), scale * scale))),
    [1],
    false,
  )
  return g.sqrt(g.add(squares, both))
}

const rowNorms = (slot: WeightSlot, random: Random): Float32Array => {
  const [rows, columns] = slot.shape
  const w: ReturnType<Initialiser> = copyOf(slot)(slot.shape, random)
  return Float32Array.from({ length: rows }, (_, i) =>
    w.subarray(i * columns, (i + 1) * columns).reduce((sum, v) => sum + v * v, 0),
  )
}
