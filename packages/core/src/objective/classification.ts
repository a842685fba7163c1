import { pickRows, shapeOf, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { normal } from '../numbers/initialise.js'
import { int64 } from '../runtime/tensor.js'
import { type Batch } from '../data/example.js'
import { type BuiltObjective, defineObjective, type ObjectiveContext, type Supervision } from './objective.js'
import { wholeLoss } from './row-head.js'

/** Logits that the graph itself makes: [batch, classes]. */
function ownLogits({ model, g, labels }: ObjectiveContext): BuiltObjective {
  const classes = shapeOf(model.logits)[1]
  if (typeof classes === 'number' && classes < labels)
    throw new GraftError(
      'TOO_MANY_LABELS',
      `The data has ${labels} labels, the classifier of ${model.file} tells ${classes} apart. Export the model with num_labels=${labels}, or give its Hugging Face folder.`,
    )
  return wholeLoss(g, model.logits, g.graph.addInput('targets', 'int64', ['batch']))
}

/**
 * A new `score` layer on one hidden state per text, as transformers' …ForSequenceClassification on a language model.
 *
 * @throws NO_HIDDEN_STATE for a model without an output layer.
 */
export function score({ model, g, labels, param }: ObjectiveContext, rows: Value): Value {
  const { head } = model
  if (!head)
    throw new GraftError(
      'NO_HIDDEN_STATE',
      `${model.file}: found no linear output layer, so no hidden states to classify. Export the model with its language-modelling head, or as a classifier.`,
    )
  const { inFeatures: width } = head
  const weight = param('score.weight', { shape: [labels, width], init: normal(0.02) })
  return g.linear(pickRows(g, head.input.value, rows), weight)
}
function scoredLastToken(context: ObjectiveContext): BuiltObjective {
  const { graph } = context.g
  const logits = score(context, graph.addInput('rows', 'int64', ['batch']))
  return wholeLoss(context.g, logits, graph.addInput('targets', 'int64', ['batch']))
}
/** Row of each text's last real token, counted from the attention mask; texts are padded on the right. */
export function lastRows({ model, g }: ObjectiveContext): Value {
  const [batch, length] = shapeOf(model.input('input_ids'))
  const mask = model.graph.inputs.find((v) => v.name === 'attention_mask')
  const starts = g.mul(g.range(g.squeeze(g.dim(batch), [0])), g.squeeze(g.dim(length), [0]))
  const lengths = mask ? g.reduceSum(g.cast(mask, 'int64'), [1], false) : g.squeeze(g.dim(length), [0])
  return g.sub(g.add(starts, lengths), g.int(1))
}
export const hasOwnLogits = ({ model }: ObjectiveContext): boolean => model.logitsShape.length === 2
/** Row of each text's last token among all rows of a padded batch. */
export const lastTokens = ({ examples, length }: Batch): number[] =>
  examples.map((e, b) => b * length + e.ids.length - 1)

function superviseClasses(batch: Batch): Supervision {
  const targets = batch.examples.map((e) => e.label ?? 0)
  return {
    feeds: { rows: int64(lastTokens(batch)), targets: int64(targets) },
    count: targets.length,
    targets,
  }
}

/** One class per text, or pair of texts. */
export const sequenceClassification = defineObjective({
  name: 'sequence-classification',
  taskType: 'SEQ_CLS',
  savedModules: ['classifier', 'score'],
  classifies: true,
  fields: ['text', 'text_pair', 'label'],
  metrics: ['accuracy', 'f1'],
  build: (context) => (hasOwnLogits(context) ? ownLogits(context) : scoredLastToken(context)),
  deploy: (context) => (hasOwnLogits(context) ? context.model.logits : score(context, lastRows(context))),
  supervise: superviseClasses,
})

/** One class per image. */
export const imageClassification = defineObjective({
  name: 'image-classification',
  taskType: null,
  task: 'image-classification',
  savedModules: ['classifier'],
  classifies: true,
  fields: ['image', 'pixel_values', 'label'],
  metrics: ['accuracy', 'f1'],
  build: ownLogits,
  supervise: superviseClasses,
})
