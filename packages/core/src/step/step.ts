import {
  type Bindings,
  type FrozenCut,
  type Graph,
  type MemoryMode,
  splitFrozen,
  type Value,
} from '@graft-peft/onnx'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { forecast, type Forecast } from '../compile/forecast.js'
import { initialScaling, scalingName } from '../compile/loss-scale.js'
import { compileSeparate, compileStep, next } from '../compile/step.js'
import type { Batch, Example } from '../data/example.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import { Random } from '../numbers/random.js'
import { Feeder } from '../objective/feeder.js'
import type { Supervision } from '../objective/objective.js'
import type { Optimizer } from '../optimizer/optimizer.js'
import { isBuiltIn } from '../optimizer/table.js'
import { float32, scalar, type Tensors } from '../runtime/tensor.js'

/** What is attached to a model: a method, an objective, and what both are built with. */
export type Attaching = Omit<AdaptOptions, 'training'>

/** How a step is taken. */
export interface StepSettings {
  optimizer: Optimizer
  /** greatest global norm of the gradient; 0: no clipping */
  clip: number
  /** whether a step's gradients come from several runs of the graph, added up */
  accumulate: boolean
  /** what the backward pass keeps */
  memory: MemoryMode
  /** a batch as large as those to come, for the memory's plan */
  sample: readonly Example[]
  /** the token that fills texts up */
  pad: number
  /** whether several steps are to be one run: what is updated then stays on the device between them */
  loop?: boolean
  /** whether ONNX Runtime keeps packed copies of the weights, as the session takes it */
  prepack?: boolean
}

/** One batch of a step, padded, with its targets. */
export interface StepBatch {
  examples: readonly Example[]
  batch: Batch
  supervision: Supervision
}
/** Where a batch stands: step t, batch k of `parts`, `count` supervised rows in all of them. */
export interface StepPlace {
  t: number
  rate: number
  k: number
  parts: number
  count: number
}

/** A training step of an adapted model: how it is compiled, what it is fed, what it will take. */
export class Step {
  private readonly feeder: Feeder

  private constructor(
    readonly base: Model,
    readonly adapted: Adapted,
    readonly attaching: Attaching,
    readonly settings: StepSettings,
  ) {
    this.feeder = new Feeder(base, attaching.objective, {
      pad: settings.pad,
      virtualTokens: adapted.virtualTokens,
      expectedRows: attaching.expectedRows,
    })
  }

  /**
   * Attaches a method for training. Variables are inputs of their own where they are too many to slice, or as
   * `separate` says.
   */
  static of(base: Model, attaching: Attaching, settings: StepSettings): Step {
    const attach = (separate: boolean) => adapt(base, { ...attaching, training: true, separate })
    let adapted = attach(attaching.separate ?? false)
    if (attaching.separate === undefined && wantsSeparate(adapted, attaching, settings.optimizer))
      adapted = attach(true)
    return new Step(base, adapted, attaching, settings)
  }

  part(examples: readonly Example[]): StepBatch {
    const batch = this.feeder.batch(examples)
    return { examples, batch, supervision: this.feeder.supervise(batch) }
  }

  /** All that a run of the step is fed, but for the state vectors. */
  feeds({ batch, supervision }: StepBatch, { t, rate, k, parts, count }: StepPlace): Tensors {
    const { afterStep } = this.adapted.adapter
    const { totalSteps, seed = 0 } = this.attaching
    return {
      ...this.feeder.inputs(batch),
      ...supervision.feeds,
      inverse_count: scalar(1 / count),
      penalty_share: scalar(1 / parts),
      ...(afterStep ? { method_scalars: float32(afterStep.scalars(t, totalSteps)) } : {}),
      scalars: float32(this.settings.optimizer.scalars(t, rate)),
      dropout_seed: dropoutSeed(seed, t, k),
    }
  }

  /** Numbers for the symbols of the step's inputs, when it is fed the sample. */
  sizes(): Bindings {
    const sample = this.part(this.settings.sample)
    const feeds = this.feeds(sample, { t: 1, rate: 0, k: 0, parts: 1, count: 1 })
    return symbolsOf(this.adapted.model.graph.inputs, feeds)
  }

  /** The graph of the step. It takes the adapted model with it: compile once. */
  compile(): Graph {
    const { adapted, settings } = this
    const keeping = { mode: settings.memory, sizes: this.sizes() }
    return adapted.variables.separate
      ? compileSeparate(adapted, keeping)
      : compileStep(adapted, { ...settings, keeping, scaled: isScaled(this.attaching) })
  }

  /**
   * The part of a compiled step that never changes. Throws NO_FROZEN_PREFIX where there is none, or where
   * examples don't go through the model one by one.
   */
  cutFrozen(graph: Graph): FrozenCut {
    const inputs = new Set(this.base.graph.inputs.map((v) => v.name))
    const cut = this.attaching.objective.rows ? undefined : splitFrozen(graph, inputs, this.sizes())
    if (!cut) throw nothingFrozen()
    return cut
  }

  /** Memory and work of the compiled step, before it runs. */
  forecast(graph: Graph): Forecast {
    const { optimizer, prepack } = this.settings
    return forecast(graph, this.sizes(), this.adapted, { stateVectors: optimizer.state.length, prepack })
  }

  /** The vectors that each run of the step leaves for the next: name before → name after. */
  carried(): Record<string, string> {
    const { optimizer, accumulate } = this.settings
    const { state } = this.adapted
    const names = [
      'parameters',
      ...optimizer.state,
      ...(state ? [state.vector] : []),
      ...(isScaled(this.attaching) ? [scalingName] : []),
      ...(accumulate ? ['gradient_sum'] : []),
    ]
    return Object.fromEntries(names.map((name) => [name, next(name)]))
  }

  /** The vectors that a run starts from, `start` being the parameters. */
  initialState(start: Float32Array): Record<string, Float32Array> {
    const { variables, state } = this.adapted
    const { optimizer } = this.settings
    return {
      parameters: start,
      ...Object.fromEntries(optimizer.state.map((name) => [name, new Float32Array(variables.total)])),
      ...(state ? { [state.vector]: state.initial(this.attaching.seed ?? 0) } : {}),
      ...(isScaled(this.attaching) ? { [scalingName]: initialScaling() } : {}),
    }
  }
}

/** Numbers for the symbols of inputs' shapes when they are fed these. */
export function symbolsOf(inputs: readonly Value[], feeds: Tensors): Bindings {
  const named = inputs.flatMap(({ name, shape }) =>
    (shape ?? []).map((d, i) => [d, feeds[name]?.shape[i]] as const),
  )
  return Object.fromEntries(
    named.filter((pair): pair is [string, number] => typeof pair[0] === 'string' && pair[1] !== undefined),
  )
}

/**
 * From this many parameters on (16 MB) vectors are updated where they lie. What a method does after a step
 * needs them in the graph.
 */
const separateFrom = 4e6
const wantsSeparate = (
  { variables, adapter }: Adapted,
  attaching: Attaching,
  optimizer: Optimizer,
): boolean =>
  variables.total >= separateFrom && !adapter.afterStep && !isScaled(attaching) && isBuiltIn(optimizer)
/** Gradients in float16 would vanish: the loss is scaled up, in the graph. */
const isScaled = ({ precision }: Attaching): boolean => precision === 'float16'

function dropoutSeed(seed: number, t: number, k: number): Tensors[string] {
  const drawn = new Random(seed, `dropout/${t}/${k}`).below(2 ** 31)
  return { dtype: 'int32', shape: [], data: Int32Array.of(drawn) }
}

const nothingFrozen = (): GraftError =>
  new GraftError(
    'NO_FROZEN_PREFIX',
    'cache: frozen-prefix keeps what the layers below the lowest trained one compute, but the method trains in the first layer already. Give it the upper layers alone (layers_to_transform, or target_modules), or leave cache out.',
  )
