import { float32, type Tensors } from './tensor.js'

/** Names of a graph's inputs and outputs, where each variable has its own. */
export const parameterName = (i: number): string => `parameters.${i}`
export const gradientName = (i: number): string => `gradient.${i}`

/** A variable's range of the flat vectors. */
export interface VariableRange {
  offset: number
  size: number
  shape: readonly number[]
}

/** Each variable as a tensor, on the vector's own memory. */
export const variableTensors = (parameters: Float32Array, variables: readonly VariableRange[]): Tensors =>
  Object.fromEntries(
    variables.map(({ offset, size, shape }, i) => [
      parameterName(i),
      float32(parameters.subarray(offset, offset + size), shape),
    ]),
  )
