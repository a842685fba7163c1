import type { Model } from '../model/model.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import type { Batch, Example } from '../data/example.js'
import type { VirtualTokens } from '../method/method.js'
import type { Tensors } from '../runtime/tensor.js'
import { guarded } from '../blame.js'
import { checkSupervision } from './checked.js'
import type { Objective, Supervision } from './objective.js'

export interface FeederOptions {
  /** the token that fills texts up */
  pad: number
  /** dummy tokens that every text starts with; none when left out */
  virtualTokens?: VirtualTokens
  /** about how many rows a batch supervises, as the graph was built for */
  expectedRows?: number
}

/** Turns examples into what graphs of a model are fed: the same for training, for evaluation and for methods that look at data. */
export class Feeder {
  private readonly chunks: number

  constructor(
    private readonly model: Model,
    private readonly objective: Objective,
    private readonly options: FeederOptions,
  ) {
    this.chunks = objective.chunks?.(options.expectedRows ?? 1, Number(model.logitsShape.at(-1))) ?? 1
  }

  /** The rows that the objective makes of examples, padded to a common length. */
  batch(examples: readonly Example[]): Batch {
    const { virtualTokens, pad } = this.options
    const rows = this.objective.rows?.(examples) ?? examples
    return { ...batchOf(rows, virtualTokens, pad), sources: examples.length }
  }
  /** The model's own inputs. Throws UNKNOWN_INPUT for one that Graft can't fill. */
  inputs(batch: Batch): Tensors {
    return modelFeeds(this.model.graph.inputs, batch, this.options.pad)
  }
  /** What the objective's part of the graph is fed, and the right answers. */
  supervise(batch: Batch): Supervision {
    const found = guarded(this.objective, () => this.objective.supervise(batch, this.chunks))
    checkSupervision(this.objective.name, found)
    return found
  }
}
