import { type Bindings, type MemoryMode, memoryModes } from '@graft-peft/onnx'
import type { AdaptOptions } from '../compile/adapt.js'
import type { Prediction } from '../compile/forecast.js'
import type { Registry } from '../container.js'
import type { PeftMethod } from '../method/method.js'
import { methodOptions } from '../method/options.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { type Quantisation } from '../model/quantise.js'
import type { Example } from '../data/example.js'
import { adamw } from '../optimizer/adamw.js'
import type { TrainConfig } from '../config/config.js'
import { prepare } from './prepare.js'
import { planRun } from './run.js'
import {
  adaptForTraining,
  compileStepper,
  predictStep,
  sampleSizes,
  type StepperOptions,
} from '../step/stepping.js'

/** What tuning a model by one method would take. */
export interface MethodEstimate {
  method: string
  trainable: number
  /** bytes of the adapter's file, in float32 */
  adapter: number
  memory: Record<MemoryMode, Prediction>
  /** weights, gradients and two moments if all were kept at 16 bits, as the LoRA paper counts */
  atHalfPrecision: number
}
export interface Estimate {
  model: string
  parameters: number
  /** bytes of the base's weights as they are stored */
  weights: number
  /** numbers for the batch's symbols */
  sizes: Bindings
  methods: MethodEstimate[]
}

type Attaching = Omit<AdaptOptions, 'training'>

/** What a training config would take, with other methods under their defaults beside it. Reads model and data as training does; trains nothing. Throws what preparing throws. */
export async function estimateRun(
  config: TrainConfig,
  registry: Registry,
  beside: readonly string[],
): Promise<Estimate> {
  const prepared = await prepare(config, registry)
  try {
    const { options, stepping } = await planRun(config, prepared)
    const others = beside
      .map((name) => registry.get('method', name))
      .filter((method) => method !== options.method)
    return estimate(
      prepared.model,
      [
        options,
        ...others.map((method) => ({
          ...options,
          method,
          config: methodOptions(method, {}),
          prepared: undefined,
        })),
      ],
      stepping,
    )
  } finally {
    prepared.close()
  }
}

export interface EstimateOptions {
  methods: readonly { name: string; options: Record<string, unknown> }[]
  batch: number
  /** tokens per example */
  sequence: number
  /** share of tokens that are supervised */
  supervised: number
  quantize?: Quantisation
  /** build from config.json alone */
  weightless?: boolean
}

/** What tuning a language model would take on batches of given size; with `weightless`, from its config.json alone. */
export function estimateModel(
  path: string,
  registry: Registry,
  { methods, batch, sequence, supervised, quantize, weightless }: EstimateOptions,
): Estimate {
  const model = openModel(path, {
    architectures: registry.all('architecture'),
    task: 'causal-lm',
    quantize,
    weightless,
  })
  const objective = registry.get('objective', 'causal-lm')
  const rows = Math.max(1, Math.round(batch * sequence * supervised))
  const first = Math.round(sequence * (1 - supervised))
  const example: Example = {
    ids: new Array<number>(sequence).fill(3),
    tokenLabels: Array.from({ length: sequence }, (_, s) => (s < first ? -100 : 3)),
  }
  const plans = methods.map(({ name, options }): Attaching => {
    const method: PeftMethod = registry.get('method', name)
    return { method, config: methodOptions(method, options), objective, labels: 0, rows, totalSteps: 100 }
  })
  const optimizer = adamw({ name: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0, momentum: 0 })
  return estimate(model, plans, {
    base: model,
    objective,
    optimizer,
    clip: 1,
    accumulate: false,
    memory: 'balanced',
    sample: new Array<Example>(batch).fill(example),
    rows,
    pad: 0,
    seed: 0,
    totalSteps: 100,
  })
}

function estimate(model: Model, plans: readonly Attaching[], stepping: StepperOptions): Estimate {
  const methods = plans.map((plan) => estimateMethod(model, plan, stepping))
  const stored = model.graph
    .constants()
    .reduce((sum, v) => sum + (v.data && 'file' in v.data ? v.data.length : 0), 0)
  return {
    model: model.file,
    parameters: model.parameterCount,
    weights: stored,
    sizes: sampleSizes(adaptForTraining(model, plans[0]), stepping),
    methods,
  }
}

function estimateMethod(model: Model, plan: Attaching, stepping: StepperOptions): MethodEstimate {
  let trainable = 0
  const predicted = memoryModes.map((memory): [MemoryMode, Prediction] => {
    const adapted = adaptForTraining(model, plan)
    trainable = adapted.variables.total
    const options = { ...stepping, memory }
    return [memory, predictStep(compileStepper(adapted, options), adapted, options)]
  })
  return {
    method: plan.method.name,
    trainable,
    adapter: 4 * trainable,
    memory: Object.fromEntries(predicted) as MethodEstimate['memory'],
    atHalfPrecision: 2 * predicted[0][1].frozen + 8 * trainable,
  }
}
