import type { Builder, Value } from '@graft-peft/onnx'

export interface OptimizerOptions {
  name: 'adamw' | 'sgd'
  weight_decay: number
  betas: readonly [number, number]
  epsilon: number
  momentum: number
}

/** Vectors of one length, or the same range of each. */
export interface Vectors {
  parameters: Float32Array
  gradient: Float32Array
  state: readonly Float32Array[]
}

/** A parameter update on flat vectors, written as a graph and, for vectors too large to pass through one, as a loop. */
export interface Optimizer {
  options: OptimizerOptions
  /** names of the state vectors, each as long as the parameters */
  state: readonly string[]
  /** Scalars for step t = 1, 2, …, computed on the host in double precision. */
  scalars(t: number, learningRate: number): number[]
  /** Next parameters and next state; `scalars` as the host computes them, each a tensor of one element. */
  update(
    g: Builder,
    inputs: {
      parameters: Value
      gradient: Value
      state: readonly Value[]
      scalars: readonly Value[]
      rateScale?: Value
    },
  ): {
    parameters: Value
    state: Value[]
  }
  /** The same update written over the vectors. The gradient counts `factor` times; rates are `rateScale` times the run's. */
  updateInPlace(
    vectors: Vectors,
    scalars: readonly number[],
    scales: { factor: number; rateScale: number },
  ): void
}
