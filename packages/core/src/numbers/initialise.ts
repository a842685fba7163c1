import { elements } from '@graft-peft/onnx'
import { Random } from './random.js'

/** Fills a new variable. `shape` as declared; `random` is the variable's own stream, fixed by the run's seed and its name. */
export type Initialiser = (shape: readonly number[], random: Random) => Float32Array

const filled = (shape: readonly number[], next: () => number): Float32Array =>
  Float32Array.from({ length: elements(shape) }, next)

/** Every number 0. */
export const zeros: Initialiser = (shape) => new Float32Array(elements(shape))

/** Every number 1. */
export const ones: Initialiser = (shape) => new Float32Array(elements(shape)).fill(1)

/** Every number the same. */
export const constant =
  (value: number): Initialiser =>
  (shape) =>
    new Float32Array(elements(shape)).fill(value)

/** Normal numbers of mean 0 and this standard deviation (not variance). */
export const normal =
  (deviation: number): Initialiser =>
  (shape, random) =>
    filled(shape, () => deviation * random.normal())

/** Uniform numbers from −bound to bound. */
export const uniform =
  (bound: number): Initialiser =>
  (shape, random) =>
    filled(shape, () => random.uniform(-bound, bound))

/** torch's kaiming_uniform_ with a = √5, what nn.Linear starts from: uniform in ±1/√fan_in. */
export const kaimingUniform: Initialiser = (shape, random) =>
  uniform(1 / Math.sqrt(elements(shape.slice(1))))(shape, random)

/** A matrix stored row by row, [rows, columns], as [columns, rows]. */
export function transpose(stored: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(stored.length)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) result[c * rows + r] = stored[r * columns + c]
  return result
}
