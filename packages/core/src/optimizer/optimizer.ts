import type { Builder, Value } from '@graft/onnx'

/** A parameter update on flat vectors, written as a graph. */
export interface Optimizer {
  name: string
  /** names of the state vectors, each as long as the parameters */
  state: readonly string[]
  /** Scalars for step t = 1, 2, …, computed on the host in double precision. */
  scalars(t: number, learningRate: number): number[]
  /** Next parameters and next state; `scalars` as the host computes them, each a tensor of one element. */
  update(
    g: Builder,
    inputs: { parameters: Value; gradient: Value; state: readonly Value[]; scalars: readonly Value[]; rateScale?: Value },
  ): {
    parameters: Value
    state: Value[]
  }
}
export interface OptimizerOptions {
  name: 'adamw' | 'sgd'
  weight_decay: number
  betas: readonly [number, number]
  epsilon: number
  momentum: number
}
