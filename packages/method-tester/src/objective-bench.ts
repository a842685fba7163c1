import {
  type Columns,
  definePeftMethod,
  type Example,
  type Metric,
  type Model,
  type Objective,
  ones,
  optionSchema,
  type PeftMethod,
} from '@graft-peft/core'
import { Bench } from './harness.js'
import { ToyCoder } from './toy-coder.js'
import { toyAnswerer, toyDecoder, toyEncoder, toyFeatures, toyImages } from './toys.js'

/** What an objective is tested on. */
export interface ObjectiveCases {
  /** records as a data file has them: three or more, with answers that differ, each field by its name */
  records: readonly Readonly<Record<string, unknown>>[]
  /** fields that hold the answers, which predicting does without; label and labels when left out */
  answers?: readonly string[]
  columns?: Columns
  /**
   * a language model (the default), a classifier of three classes, a model of hidden states, a classifier of
   * images (pixel_values of 3 × 4 × 4 numbers) into three classes, or an encoder with a decoder that answers
   */
  model?: keyof typeof models
  /** metrics of the same package that it names */
  metrics?: readonly Metric[]
}
/** One objective on a toy model, with the examples that it makes. */
export interface ObjectiveBench {
  objective: Objective
  cases: ObjectiveCases
  model: Model
  coder: ToyCoder
  examples: readonly Example[]
  labels: readonly string[]
  bench: Bench
}

const models = {
  decoder: toyDecoder,
  encoder: toyEncoder,
  features: toyFeatures,
  images: toyImages,
  answerer: toyAnswerer,
}

/** A trained factor for each output of each linear layer: something below the loss for gradients to reach. */
const gains: PeftMethod = definePeftMethod({
  name: 'gains',
  apiVersion: 1,
  peftType: 'GAINS',
  configSchema: optionSchema({}),
  summary: '',
  mergeable: false,
  startsAsIdentity: () => true,
  attach({ model, g, param }) {
    for (const { path, outFeatures, output } of model.linears) {
      const gain = param(`${path}.gain`, { shape: [outFeatures], init: ones })
      output.map((y) => g.mul(y, gain))
    }
    return {}
  },
})

/** Encodes the records and attaches the objective. Throws what the objective throws. */
export async function openObjective(objective: Objective, cases: ObjectiveCases): Promise<ObjectiveBench> {
  const { records, columns = {}, model: kind = 'decoder' } = cases
  const model = models[kind]()
  const kept = records.map((fields, i) => ({ fields, where: `record ${i + 1}` }))
  const labels = objective.classifies
    ? [...new Set(kept.flatMap((r) => objective.labelsOf(r, columns)))].sort()
    : []
  const coder = new ToyCoder(model, labels, columns)
  const examples = kept.map((r) => objective.encode(r, coder))
  const learnt = { objective, labels: objective.classifies ? labels.length : 1, examples }
  const bench = await Bench.open(model, gains, {}, learnt)
  return { objective, cases, model, coder, examples, labels, bench }
}
