import { type Bindings, type MemoryMode, memoryModes } from '@graft-peft/onnx'
import type { Forecast } from '../compile/forecast.js'
import type { Precision } from '../compile/precision.js'
import type { Registry } from '../container.js'
import type { PeftMethod } from '../method/method.js'
import { methodOptions, startingOptions } from '../method/options.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { type Quantisation } from '../model/quantise.js'
import type { Example } from '../data/example.js'
import { adamw } from '../optimizer/adamw.js'
import type { TrainConfig } from '../config/config.js'
import { readInputs } from './inputs.js'
import { forecastRun, planRun } from './run.js'
import { type Attaching, Step, type StepSettings } from '../step/step.js'

/** What tuning a model by one method would take. */
export interface MethodEstimate {
  method: string
  trainable: number
  /** bytes of the adapter's file, in float32 */
  adapter: number
  memory: Record<MemoryMode, Forecast>
  /** weights, gradients and two moments if all were kept at 16 bits, as the LoRA paper counts */
  atHalfPrecision: number
}
/** What training a model would take, method by method. */
export interface Estimate {
  model: string
  parameters: number
  /** bytes of the base's weights as they are stored */
  weights: number
  /** numbers for the batch's symbols */
  sizes: Bindings
  methods: MethodEstimate[]
}

/**
 * What a training config would take, with other methods under their defaults beside it. Reads model and data
 * as training does; trains nothing.
 *
 * @throws what preparing throws.
 */
export async function estimateRun(
  config: TrainConfig,
  registry: Registry,
  beside: readonly string[],
): Promise<Estimate> {
  const inputs = await readInputs(config, registry)
  try {
    const plan = await planRun(config, inputs)
    const { attaching, settings } = plan.step
    const others = beside
      .map((name) => registry.get('method', name))
      .filter((method) => method !== config.method)
      .map((method) => ({
        ...attaching,
        method,
        methodOptions: methodOptions(method, {}),
        prepared: undefined,
      }))
    return await estimate(inputs.model, [attaching, ...others], settings, (step, forecast) =>
      forecastRun({ ...plan, step }, forecast, inputs),
    )
  } finally {
    inputs.close()
  }
}

/** What to estimate for. */
export interface EstimateOptions {
  methods: readonly { name: string; options: Record<string, unknown> }[]
  batch: number
  /** tokens per example */
  sequence: number
  /** share of tokens that are supervised */
  supervised: number
  quantize?: Quantisation
  precision?: Precision
  /** build from config.json alone */
  weightless?: boolean
}

/**
 * What tuning a language model would take on batches of given size; with `weightless`, from its config.json alone.
 *
 * @throws UNKNOWN_PLUGIN for a method that isn't installed, and what opening the model throws.
 */
export async function estimateModel(
  path: string,
  registry: Registry,
  { methods, batch, sequence, supervised, quantize, precision, weightless }: EstimateOptions,
): Promise<Estimate> {
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
    return {
      method,
      methodOptions: startingOptions(method, options).options,
      objective,
      labels: 0,
      expectedRows: rows,
      totalSteps: 100,
      precision,
    }
  })
  return estimate(model, plans, {
    optimizer: adamw(),
    clip: 1,
    accumulate: false,
    memory: 'balanced',
    sample: new Array<Example>(batch).fill(example),
    pad: 0,
  })
}

/** What a run takes whose steps take that much. */
type WholeRun = (step: Step, forecast: Forecast) => Promise<Forecast>
const stepsAlone: WholeRun = async (_, forecast) => forecast

async function estimate(
  model: Model,
  plans: readonly Attaching[],
  settings: StepSettings,
  whole = stepsAlone,
): Promise<Estimate> {
  const methods: MethodEstimate[] = []
  for (const plan of plans) methods.push(await estimateMethod(model, plan, settings, whole))
  const stored = model.graph
    .constants()
    .reduce((sum, v) => sum + (v.data && 'file' in v.data ? v.data.length : 0), 0)
  return {
    model: model.file,
    parameters: model.parameterCount,
    weights: stored,
    sizes: Step.of(model, plans[0], settings).sizes(),
    methods,
  }
}

async function estimateMethod(
  model: Model,
  plan: Attaching,
  settings: StepSettings,
  whole: WholeRun,
): Promise<MethodEstimate> {
  let trainable = 0
  const predicted: [MemoryMode, Forecast][] = []
  for (const memory of memoryModes) {
    const step = Step.of(model, plan, { ...settings, memory })
    trainable = step.adapted.variables.total
    predicted.push([memory, await whole(step, step.forecast(step.compile()))])
  }
  return {
    method: plan.method.name,
    trainable,
    adapter: 4 * trainable,
    memory: Object.fromEntries(predicted) as MethodEstimate['memory'],
    // In 8 bits a matrix is there in both orientations.
    atHalfPrecision: 2 * Math.min(predicted[0][1].frozen, model.parameterCount) + 8 * trainable,
  }
}
