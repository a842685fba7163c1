import type { OptimizerOptions } from '../optimizer/optimizer.js'
import { makeOptimizer } from '../optimizer/table.js'
import type { VariableRange } from './variable-tensors.js'

/**
 * An optimiser's step beside the graph: vectors of gigabytes are written over where they lie, instead of
 * crossing as inputs and new outputs.
 */
export interface Update {
  /**
   * flat vectors by name: parameters, the optimiser's state, and gradient_sum where gradients of several runs
   * are added up
   */
  vectors: Record<string, Float32Array>
  variables: readonly (VariableRange & { rateScale: number })[]
  optimizer: OptimizerOptions
  scalars: readonly number[]
  /** greatest global norm of the gradient; 0: no clipping */
  clip: number
  /** whether the parameters move; otherwise the gradient is only added up */
  apply: boolean
}

/**
 * Adds up, clips, and moves the parameters. `ownNorm`: the norm of this run's own gradients. Returns the norm
 * of those that are added up.
 */
export function applyGradients(
  { vectors, variables, optimizer, scalars, clip, apply }: Update,
  own: readonly Float32Array[],
  ownNorm: number,
): number {
  const gradients = vectors.gradient_sum ? addedUp(vectors.gradient_sum, variables, own) : own
  const norm = gradients === own ? ownNorm : Math.sqrt(gradients.reduce((sum, d) => sum + squares(d), 0))
  if (!apply) return norm
  const factor = clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1
  const { state, updateInPlace } = makeOptimizer(optimizer)
  variables.forEach(({ offset, size, rateScale }, i) => {
    const range = (name: string) => vectors[name].subarray(offset, offset + size)
    updateInPlace(
      { parameters: range('parameters'), gradient: gradients[i], state: state.map(range) },
      scalars,
      { factor, rateScale },
    )
  })
  vectors.gradient_sum?.fill(0)
  return norm
}

function addedUp(
  sum: Float32Array,
  variables: readonly VariableRange[],
  own: readonly Float32Array[],
): Float32Array[] {
  return variables.map(({ offset, size }, k) => {
    const part = sum.subarray(offset, offset + size)
    const gradient = own[k]
    for (let i = 0; i < size; i++) part[i] += gradient[i]
    return part
  })
}

/** Four sums side by side: one alone waits for each addition. */
function squares(d: Float32Array): number {
  let [a, b, c, e] = [0, 0, 0, 0]
  const whole = d.length - (d.length % 4)
  for (let i = 0; i < whole; i += 4) {
    a += d[i] * d[i]
    b += d[i + 1] * d[i + 1]
    c += d[i + 2] * d[i + 2]
    e += d[i + 3] * d[i + 3]
  }
  for (let i = whole; i < d.length; i++) a += d[i] * d[i]
  return a + b + c + e
}
