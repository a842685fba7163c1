import { addDims, type ArchitectureContext, type Builder, type Value } from '@graft-peft/core'

/** A batch of texts as a model gets it, all int64. */
export interface TextInputs {
  /** [batch, sequence] */
  ids: Value
  /**
   * [batch, total], total = past + sequence: 0 for padding, else the number of the text that a token belongs to. Texts packed into
   * one row have different numbers and don't see each other; a row of one text is a plain mask of ones.
   */
  mask: Value
  /** [batch, sequence], from 0 within each text */
  positions: Value
  /** sizes, as vectors of one element */
  sequence: Value
  total: Value
}

export function textInputs({ g, cache }: ArchitectureContext): TextInputs {
  const ids = g.graph.addInput('input_ids', 'int64', ['batch', 'sequence'])
  const mask = g.graph.addInput('attention_mask', 'int64', [
    'batch',
    cache ? addDims('past_sequence', 'sequence') : 'sequence',
  ])
  const positions = g.graph.addInput('position_ids', 'int64', ['batch', 'sequence'])
  return { ids, mask, positions, sequence: length(g, ids), total: cache ? length(g, mask) : length(g, ids) }
}
const length = (g: Builder, v: Value): Value => g.op('Shape', [v], { start: 1, end: 2 })
