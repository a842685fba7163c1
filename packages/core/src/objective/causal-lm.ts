import { textFields } from '../data/texts.js'
import { GraftError } from '../errors.js'
import { type Batch } from '../data/example.js'
import { defineObjective } from './objective.js'
import { chunksFor, languageLoss, supervised, type SupervisedRows } from './language-loss.js'

/** Positions whose next token is supervised, flattened over the padded batch, and those tokens. */
function supervisedRows({ examples, length }: Batch): SupervisedRows {
  const rows: number[] = []
  const targets: number[] = []
  examples.forEach(({ tokenLabels = [] }, b) => {
    for (let s = 0; s + 1 < tokenLabels.length; s++) {
      if (tokenLabels[s + 1] === -100) continue
      rows.push(b * length + s)
      targets.push(tokenLabels[s + 1])
    }
  })
  return { rows, targets }
}

/** Next-token prediction: labels shifted by one, −100 ignored, mean over supervised tokens (as transformers' ForCausalLMLoss). */
export const causalLm = defineObjective({
  name: 'causal-lm',
  taskType: 'CAUSAL_LM',
  savedModules: [],
  classifies: false,
  packs: true,
  chunks: chunksFor,
  fields: textFields,

  build({ model, g, expectedRows: expected }) {
    const shape = model.logitsShape
    if (shape.length !== 3)
      throw new GraftError(
        'WRONG_OBJECTIVE',
        `objective: causal-lm needs logits [batch, sequence, vocabulary]; ${model.file} gives [${shape.join(', ')}]. A classifier wants objective: sequence-classification.`,
      )
    return languageLoss(model, g, expected)
  },

  supervise: (batch, chunks) => supervised(supervisedRows(batch), chunks),
})
