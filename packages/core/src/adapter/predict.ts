import type { DataRecord } from '../data/records.js'
import { encodeInputs } from '../data/encode.js'
import { GraftError } from '../errors.js'
import type { SessionOptions } from '../runtime/session.js'
import { Evaluator } from '../trainer/evaluator.js'
import { type OpenedAdapter, parametersOf } from './open.js'
import { adapt } from '../compile/adapt.js'

export interface Prediction {
  label: string
  /** probability of that label */
  score: number
}
const batchSize = 32

/** Classifies records with an adapter, in order. Throws NOT_A_CLASSIFIER for an adapter that continues texts. */
export async function* predict(opened: OpenedAdapter, records: readonly DataRecord[], session: SessionOptions = {}): AsyncGenerator<Prediction> {
  const { model, options, labels, folder } = opened
  if (!options.objective.classifies) throw new GraftError('NOT_A_CLASSIFIER', `${folder}: its objective is ${options.objective.name}; predict needs a classifier.`)
  const { examples, pad } = encodeInputs(records, model, opened)
  const parameters = parametersOf(opened, adapt(model, { ...options, training: false }))
  const evaluator = await Evaluator.open(model, options, { ...session, pad, batchSize })
  try {
    for (let start = 0; start < examples.length; start += batchSize * 8) {
      const logits = await evaluator.logits(examples.slice(start, start + batchSize * 8), parameters)
      for (const row of logits) yield mostLikely(row.subarray(0, labels.length), labels)
    }
  } finally {
    await evaluator.close()
  }
}

function mostLikely(logits: Float32Array, labels: readonly string[]): Prediction {
  const greatest = Math.max(...logits)
  const total = logits.reduce((sum, v) => sum + Math.exp(v - greatest), 0)
  return { label: labels[logits.indexOf(greatest)], score: 1 / total }
}
