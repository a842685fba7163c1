import { pickRows, shapeOf } from '@graft-peft/onnx'
import { textFields } from '../data/texts.js'
import { GraftError } from '../errors.js'
import { int64 } from '../runtime/tensor.js'
import { chunksFor } from './causal-lm.js'
import { defineObjective } from './objective.js'
import { chunkedLoss, rowHead, wholeLoss } from './row-head.js'

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

  build({ model, g, rows: expected }) {
    if (!model.graph.inputs.some((v) => v.name === 'decoder_input_ids'))
      throw new GraftError(
        'WRONG_OBJECTIVE',
        `${model.file}: sequence-to-sequence needs a model with an encoder and a decoder (input decoder_input_ids). For a decoder alone use objective: causal-lm.`,
      )
    const [rows, targets, bounds] = ['rows', 'targets', 'bounds'].map((n) =>
      g.graph.addInput(n, 'int64', [n === 'bounds' ? 'bounds' : 'supervised']),
    )
    const { logits, head } = model
    const shape = shapeOf(logits)
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
    const bounds = Array.from({ length: chunks + 1 }, (_, k) => Math.floor((k * rows.length) / chunks))
    return {
      feeds: { rows: int64(rows), targets: int64(targets), bounds: int64(bounds) },
      count: rows.length,
      targets,
    }
  },
})
