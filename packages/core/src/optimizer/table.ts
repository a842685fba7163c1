import { adamw } from './adamw.js'
import {
  type BuiltInOptimizer,
  defineOptimizer,
  type Optimizer,
  type OptimizerKind,
  type OptimizerOptions,
} from './optimizer.js'
import { sgd } from './sgd.js'

const makers: Record<OptimizerOptions['name'], (options: OptimizerOptions) => BuiltInOptimizer> = {
  adamw,
  sgd,
}
export const makeOptimizer = (options: OptimizerOptions): BuiltInOptimizer => makers[options.name](options)

/** The built-in optimisers, as plugins are. */
export const optimizers: readonly OptimizerKind[] = (['adamw', 'sgd'] as const).map((name) =>
  defineOptimizer({ name, create: (numbers) => makeOptimizer({ ...numbers, name }) }),
)

/** Whether an optimiser's step can be taken beside the graph, by a thread that makes it again. */
export const isBuiltIn = (optimizer: Optimizer): optimizer is BuiltInOptimizer => 'updateInPlace' in optimizer
