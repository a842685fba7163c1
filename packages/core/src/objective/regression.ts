import { shapeOf, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { float32, int64 } from '../runtime/tensor.js'
import { hasOwnLogits, lastRows, lastTokens, score } from './classification.js'
import { defineObjective, type ObjectiveContext } from './objective.js'

function output(context: ObjectiveContext, rows: () => Value): Value {
  const logits = hasOwnLogits(context) ? context.model.logits : score({ ...context, labels: 1 }, rows())
  if (shapeOf(logits)[1] !== 1)
    throw new GraftError(
      'WRONG_OBJECTIVE',
      `${context.model.file}: objective regression needs one output per text, the classifier has ${shapeOf(logits)[1]}. Give the Hugging Face folder, or export with num_labels=1.`,
    )
  return logits
}

/** One number per text, by least squares (transformers' problem_type "regression"). */
export const regression = defineObjective({
  name: 'regression',
  taskType: 'SEQ_CLS',
  savedModules: ['classifier', 'score'],
  classifies: false,
  fields: ['text', 'text_pair', 'label'],
  metrics: ['mean-squared-error', 'pearson', 'spearman'],
  task: 'sequence-classification',
  answers: 'example',
  input: (record, coder) => coder.input(record),
  encode: (record, coder) => ({ ...coder.input(record), label: coder.number(record, 'label') }),
  build(context) {
    const { g } = context
    const logits = output(context, () => g.graph.addInput('rows', 'int64', ['batch']))
    const targets = g.graph.addInput('targets', 'float32', ['batch'])
    const difference = g.sub(logits, g.unsqueeze(targets, [1]))
    const lossSum = g.sumAll(g.square(difference))
    return { lossSum, partials: new Map(), predictions: g.squeeze(logits, [1]), logits }
  },
  deploy: (context) => output(context, () => lastRows(context)),
  supervise(batch) {
    const targets = batch.examples.map((e) => e.label ?? 0)
    return {
      feeds: { rows: int64(lastTokens(batch)), targets: float32(targets) },
      count: targets.length,
      targets,
    }
  },
})
