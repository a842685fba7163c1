import type { Precision } from '../compile/precision.js'
import type { ChosenDevice } from '../runtime/device.js'
import type { Golden } from './golden.js'

/** Greatest difference allowed, per check: the arbiter's tolerances on the CPU in float32. */
const onCpu: Tolerances = { forward: 1e-5, gradients: 1e-4, trajectory: 3e-3, adapter: 1e-2, ranks: 0 }
/** On GPUs, which may compute exp, sin and cos to fewer digits (WGSL, 15.7.4; CUDA's TF32). */
const onGpu: Tolerances = { ...onCpu, forward: 1e-4, gradients: 5e-3 }
/** Where products are rounded: the logits' distance relative to their norm, and 1 − the cosine of the whole gradient. */
const rounded: Tolerances = { forward: 5e-2, direction: 5e-3 }

export type CheckName = 'forward' | 'gradients' | 'direction' | 'trajectory' | 'adapter' | 'ranks'
type Tolerances = Partial<Record<CheckName, number>>

/** Where reference results are replayed, and what in. */
export interface Replaying {
  device?: ChosenDevice
  /** float32 when left out; of others the forward pass and the gradient's direction alone are compared */
  precision?: Precision
}
/** Reference results, and what is to repeat them. */
export type Replayed = Golden & Replaying

/** Whether rounding shows beyond float32's tolerances. */
export const isRounded = (precision: Precision = 'float32'): boolean => precision !== 'float32'

/** The checks that are made, with the greatest difference that passes. */
export function tolerancesOn({ device = 'cpu', precision }: Replaying = {}): Tolerances {
  if (isRounded(precision)) return rounded
  return device === 'cuda' || device === 'webgpu' ? onGpu : onCpu
}

/** One comparison: the greatest difference, relative to the largest number. */
export interface Check {
  name: CheckName
  difference: number
  passed: boolean
}
/** How one case of reference results was met. */
export interface CaseReport {
  export: string
  case: string
  status: 'passed' | 'failed' | 'not built'
  checks: Check[]
  /** why a case isn't built, or what it threw */
  reason?: string
}

export const check = (replaying: Replaying, name: CheckName, difference: number): Check => ({
  name,
  difference,
  passed: difference <= (tolerancesOn(replaying)[name] ?? 0),
})
