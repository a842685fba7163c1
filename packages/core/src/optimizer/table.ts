import { adamw } from './adamw.js'
import type { Optimizer, OptimizerOptions } from './optimizer.js'
import { sgd } from './sgd.js'

/** The optimisers by name. */
const optimizers: Record<OptimizerOptions['name'], (options: OptimizerOptions) => Optimizer> = { adamw, sgd }
export const makeOptimizer = (options: OptimizerOptions): Optimizer => optimizers[options.name](options)
