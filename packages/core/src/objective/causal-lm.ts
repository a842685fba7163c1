import { pickRows, shapeOf } from '@graft-peft/onnx'
import { textFields } from '../data/texts.js'
import { GraftError } from '../errors.js'
import { int64 } from '../runtime/tensor.js'
import { type Batch } from '../data/example.js'
import { defineObjective } from './objective.js'
import { chunkedLoss, rowHead, wholeLoss } from './row-head.js'

/** Logits of one chunk hold about this many numbers (16 MB). */
const chunkElements = 2 ** 22
/** How many chunks the output layer is computed in. */
export const chunksFor = (rows: number, vocabulary: number): number =>
  Math.max(1, Math.min(64, Math.ceil((rows * vocabulary) / chunkElements)))

/** Positions whose next token is supervised, flattened over the padded batch, and those tokens. */
function supervisedRows({ examples, length }: Batch): { rows: number[]; targets: number[] } {
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

  build({ model, g, rows: expected }) {
    const [rows, targets, bounds] = ['rows', 'targets', 'bounds'].map((n) =>
      g.graph.addInput(n, 'int64', [n === 'bounds' ? 'bounds' : 'supervised']),
    )
    const { logits, head } = model
    const shape = shapeOf(logits)
    if (shape.length !== 3)
      throw new GraftError(
        'WRONG_OBJECTIVE',
        `objective: causal-lm needs logits [batch, sequence, vocabulary]; ${model.file} gives [${shape.join(', ')}]. A classifier wants objective: sequence-classification.`,
      )
    const rowwise = head && rowHead(head.input.value, logits, g.graph.sorted())
    if (rowwise)
      return chunkedLoss(
        g,
        rowwise,
        { rows, targets, bounds },
        { expected, chunks: chunksFor(expected, shape[2] as number) },
      )
    return wholeLoss(g, pickRows(g, logits, rows), targets)
  },

  supervise(batch, chunks) {
    const { rows, targets } = supervisedRows(batch)
    const bounds = Array.from({ length: chunks + 1 }, (_, k) => Math.floor((k * rows.length) / chunks))
    return {
      feeds: { rows: int64(rows), targets: int64(targets), bounds: int64(bounds) },
      count: rows.length,
      targets,
    }
  },
})
