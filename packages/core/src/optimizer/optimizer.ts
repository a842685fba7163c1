import type { Builder, Value } from '@graft-peft/onnx'
import { madeHere } from '../copy.js'

/** Numbers that a config gives to every optimiser: `training.weight_decay` and its kin. Each reads those that it has a use for. */
export interface OptimizerNumbers {
  weight_decay: number
  betas: readonly [number, number]
  epsilon: number
  momentum: number
}
/** Those of a built-in one, by which another thread makes it again. */
export interface OptimizerOptions extends OptimizerNumbers {
  name: 'adamw' | 'sgd'
}

/** Vectors of one length, or the same range of each. */
export interface Vectors {
  parameters: Float32Array
  gradient: Float32Array
  state: readonly Float32Array[]
}

/** A parameter update on flat vectors, written as a graph. */
export interface Optimizer {
  /** names of the state vectors, each as long as the parameters */
  state: readonly string[]
  /** Scalars for step t = 1, 2, …, computed on the host in double precision. */
  scalars(t: number, learningRate: number): number[]
  /** Next parameters and next state, [parameters] each as `parameters` is; `scalars` as the host computes them, each a tensor of one element.
   *  `rateScale`, where there is one, is what each element's rate is multiplied by. */
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
}
/** The same for vectors too large to pass through a graph, as a loop. Made again by its options in the thread that has the vectors. */
export interface BuiltInOptimizer extends Optimizer {
  options: OptimizerOptions
  /** The same update written over the vectors. The gradient counts `factor` times; rates are `rateScale` times the run's. */
  updateInPlace(
    vectors: Vectors,
    scalars: readonly number[],
    scales: { factor: number; rateScale: number },
  ): void
}

/** A kind of optimiser: a config names it as training.optimizer. */
export interface OptimizerKind<Options = Record<string, unknown>> {
  kind: 'optimizer'
  apiVersion: 1
  name: string
  /** JSON Schema of options of its own beside the name, as in optimizer: { name: mine, … } */
  configSchema: object
  create(numbers: OptimizerNumbers, options: Options): Optimizer
}

/** Gives an optimiser its types and its kind; a package default-exports the result. */
export const defineOptimizer = <Options>(
  given: Omit<OptimizerKind<Options>, 'kind' | 'apiVersion' | 'configSchema'> &
    Partial<Pick<OptimizerKind, 'configSchema'>>,
): OptimizerKind =>
  ({ kind: 'optimizer', apiVersion: 1, configSchema: noOptions, ...given, ...madeHere }) as OptimizerKind

/** The schema of a plugin that has a name alone. */
export const noOptions = { type: 'object', additionalProperties: false, properties: {} } as const
