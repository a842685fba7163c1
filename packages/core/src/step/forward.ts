import type { Graph } from '@graft-peft/onnx'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { forecastForward } from '../compile/forecast.js'
import { compileEvaluation } from '../compile/step.js'
import { type BatchLimit, fitting } from '../data/batches.js'
import { type Dataset, largest } from '../data/dataset.js'
import type { Example } from '../data/example.js'
import type { Model } from '../model/model.js'
import { Feeder } from '../objective/feeder.js'
import type { Supervision } from '../objective/objective.js'
import type { Tensors } from '../runtime/tensor.js'
import { symbolsOf } from './step.js'

/** The forward pass of an adapted model, compiled, and what it is fed. */
export class Forward {
  private constructor(
    /** cleared once a session has it */
    readonly graph: Graph,
    private readonly variables: Adapted['variables'],
    private readonly feeder: Feeder,
    /** the objective's name */
    readonly objective: string,
  ) {}

  static of(base: Model, options: Omit<AdaptOptions, 'training'>, pad: number): Forward {
    const adapted = adapt(base, { ...options, training: false })
    const { virtualTokens, variables } = adapted
    const { objective, expectedRows } = options
    const feeder = new Feeder(base, objective, { pad, virtualTokens, expectedRows })
    return new Forward(compileEvaluation(adapted), variables, feeder, objective.name)
  }

  feeds(
    examples: readonly Example[],
    parameters: Float32Array,
  ): { feeds: Tensors; supervision: Supervision } {
    const { supervision, ...inputs } = this.inputs(examples)
    return { feeds: { ...inputs.feeds, ...this.variables.tensors(parameters) }, supervision }
  }
  private inputs(examples: readonly Example[]): { feeds: Tensors; supervision: Supervision } {
    const batch = this.feeder.batch(examples)
    const supervision = this.feeder.supervise(batch)
    return { feeds: { ...this.feeder.inputs(batch), ...supervision.feeds }, supervision }
  }

  /** Bytes that its session takes for the largest batch of these parts; 0 where they hold nothing. */
  async forecast(parts: readonly Dataset[], limit: BatchLimit, prepack?: boolean): Promise<number> {
    const full = parts.filter((part) => part.length > 0)
    const bytes = full.map(async (part) => {
      const [example] = await largest(part, 1)
      const size = example.ids.length + (example.decoderIds?.length ?? 0)
      const batch = await largest(part, fitting(limit, size))
      return forecastForward(this.graph, symbolsOf(this.graph.inputs, this.inputs(batch).feeds), prepack)
    })
    return Math.max(0, ...(await Promise.all(bytes)))
  }
}
