import { productOf, shapeOf } from '@graft/onnx'
import { GraftError } from '../errors.js'
import { normal } from '../method/variables.js'
import { int64 } from '../runtime/tensor.js'
import type { BuiltObjective, Objective, ObjectiveContext } from './objective.js'
import { wholeLoss } from './row-head.js'

/** Logits that the graph itself makes: [batch, classes]. */
function ownLogits({ model, g, labels }: ObjectiveContext): BuiltObjective {
  const classes = shapeOf(model.logits)[1]
  if (typeof classes === 'number' && classes < labels)
    throw new GraftError('TOO_MANY_LABELS', `The data has ${labels} labels, the classifier of ${model.file} tells ${classes} apart. Export the model with num_labels=${labels}.`)
  return wholeLoss(g, model.logits, g.graph.addInput('targets', 'int64', ['batch']))
}

/** A new `score` layer on the last real token's hidden state, as transformers' …ForSequenceClassification on a language model. */
function scoredLastToken({ model, g, labels, param }: ObjectiveContext): BuiltObjective {
  const { head } = model
  if (!head) throw new GraftError('NO_HIDDEN_STATE', `${model.file}: found no linear output layer, so no hidden states to classify. Export the model with its language-modelling head, or as a classifier.`)
  const hidden = head.input
  const width = head.inFeatures
  const last = g.graph.addInput('rows', 'int64', ['batch'])
  const flat = g.reshape(hidden, [productOf(shapeOf(hidden).slice(0, -1)), width])
  const score = param('score.weight', { shape: [labels, width], init: normal(0.02) })
  return wholeLoss(g, g.linear(g.gather(flat, last), score), g.graph.addInput('targets', 'int64', ['batch']))
}

/** One class per text. */
export const sequenceClassification: Objective = {
  name: 'sequence-classification',
  taskType: 'SEQ_CLS',
  savedModules: ['classifier', 'score'],
  classifies: true,
  build: (context) => (context.model.logitsShape.length === 2 ? ownLogits(context) : scoredLastToken(context)),
  supervise({ examples, length }) {
    const targets = examples.map((e) => e.label ?? 0)
    const rows = examples.map((e, b) => b * length + e.ids.length - 1)
    return { feeds: { rows: int64(rows), targets: int64(targets) }, count: targets.length, targets }
  },
}

/** One class per image. */
export const imageClassification: Objective = {
  name: 'image-classification',
  taskType: null,
  savedModules: ['classifier'],
  classifies: true,
  build: ownLogits,
  supervise({ examples }) {
    const targets = examples.map((e) => e.label ?? 0)
    return { feeds: { targets: int64(targets) }, count: targets.length, targets }
  },
}
