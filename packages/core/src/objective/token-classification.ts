import { pickRows, type Value } from '@graft-peft/onnx'
import { listField } from '../data/records.js'
import { GraftError } from '../errors.js'
import { normal } from '../numbers/initialise.js'
import { int64 } from '../runtime/tensor.js'
import { defineObjective, type ObjectiveContext } from './objective.js'
import { wholeLoss } from './row-head.js'

/** Logits per token [batch, sequence, classes]: the graph's own where it classifies tokens, else a new `score` layer on a language model's hidden states. */
function tokenLogits({ model, g, labels, param }: ObjectiveContext): Value {
  const [, , classes] = model.logitsShape
  const languageHead = model.outputEmbedding
  if (!languageHead) {
    if (model.logitsShape.length === 3 && Number(classes) >= labels) return model.logits
    throw new GraftError(
      'WRONG_OBJECTIVE',
      `${model.file}: token-classification needs logits [batch, sequence, ≥ ${labels}], the model gives [${model.logitsShape.join(', ')}]. Give the Hugging Face folder, or export with num_labels=${labels}.`,
    )
  }
  const weight = param('score.weight', { shape: [labels, languageHead.inFeatures], init: normal(0.02) })
  const bias = param('score.bias', { shape: [labels], init: normal(0) })
  return g.add(g.linear(languageHead.input.value, weight), bias)
}

/** A class per token (named entities, parts of speech); loss on the tokens that carry a label. */
export const tokenClassification = defineObjective({
  name: 'token-classification',
  taskType: 'TOKEN_CLS',
  task: 'token-classification',
  answers: 'tokens',
  savedModules: ['classifier', 'score'],
  classifies: true,
  fields: ['tokens', 'labels'],
  metrics: ['entity-f1', 'accuracy'],
  labelsOf: (record, columns) => listField(record, columns, 'labels'),
  encode: (record, coder) => coder.words(record),
  input: (record, coder) =>
    coder.words({
      ...record,
      fields: {
        ...record.fields,
        labels: listField(record, coder.options.columns, 'tokens').map(() => coder.labels[0]),
      },
    }),
  build(context) {
    const { g } = context
    const logits = tokenLogits(context)
    const [rows, targets] = ['rows', 'targets'].map((name) => g.graph.addInput(name, 'int64', ['supervised']))
    return wholeLoss(g, pickRows(g, logits, rows), targets)
  },
  deploy: tokenLogits,
  supervise({ examples, length }) {
    const rows: number[] = []
    const targets: number[] = []
    const lengths = examples.map(({ tokenLabels = [] }, b) => {
      const supervised = tokenLabels.flatMap((label, s) => (label === -100 ? [] : [s]))
      for (const s of supervised) {
        rows.push(b * length + s)
        targets.push(tokenLabels[s])
      }
      return supervised.length
    })
    return { feeds: { rows: int64(rows), targets: int64(targets) }, count: rows.length, targets, lengths }
  },
})
