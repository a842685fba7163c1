import { textFields } from '../data/texts.js'
import { GraftError } from '../errors.js'
import { chunksFor, languageLoss, supervised } from './language-loss.js'
import { defineObjective } from './objective.js'

/** A text read, another written: loss on what the decoder writes (transformers' …ForConditionalGeneration). */
export const sequenceToSequence = defineObjective({
  name: 'sequence-to-sequence',
  taskType: 'SEQ_2_SEQ_LM',
  task: 'sequence-to-sequence',
  savedModules: [],
  classifies: false,
  chunks: chunksFor,
  fields: textFields,
  encode: (record, coder) => coder.pair(record),

  build({ model, g, expectedRows: expected }) {
    if (!model.graph.inputs.some((v) => v.name === 'decoder_input_ids'))
      throw new GraftError(
        'WRONG_OBJECTIVE',
        `${model.file}: sequence-to-sequence needs a model with an encoder and a decoder (input decoder_input_ids). For a decoder alone use objective: causal-lm.`,
      )
    return languageLoss(model, g, expected)
  },

  supervise({ examples, decoderLength }, chunks) {
    const rows: number[] = []
    const targets: number[] = []
    examples.forEach(({ tokenLabels = [] }, b) => {
      tokenLabels.forEach((label, s) => {
        if (label === -100) return
        rows.push(b * decoderLength + s)
        targets.push(label)
      })
    })
    return supervised({ rows, targets }, chunks)
  },
})
