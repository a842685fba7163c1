import { type Builder, pickRows, shapeOf } from '@graft-peft/onnx'
import type { Model } from '../model/model.js'
import { int64 } from '../runtime/tensor.js'
import type { BuiltObjective, Supervision } from './objective.js'
import { chunkedLoss, rowHead, wholeLoss } from './row-head.js'

/** Logits of one chunk hold about this many numbers (16 MB). */
const chunkElements = 2 ** 22
/** How many chunks the output layer is computed in. */
export const chunksFor = (rows: number, vocabulary: number): number =>
  Math.max(1, Math.min(64, Math.ceil((rows * vocabulary) / chunkElements)))

/** Cross entropy over chosen positions of logits [batch, positions, vocabulary], about `expected` of them; fed what `supervised` gives. */
export function languageLoss(model: Model, g: Builder, expected: number): BuiltObjective {
  const [rows, targets, bounds] = ['rows', 'targets', 'bounds'].map((n) =>
    g.graph.addInput(n, 'int64', [n === 'bounds' ? 'bounds' : 'supervised']),
  )
  const { logits, head } = model
  const rowwise = head && rowHead(head.input.value, logits, g.graph.sorted())
  if (!rowwise) return wholeLoss(g, pickRows(g, logits, rows), targets)
  const chunks = chunksFor(expected, Number(shapeOf(logits)[2]))
  return chunkedLoss(g, rowwise, { rows, targets, bounds }, { expected, chunks })
}

/** Positions, numbered through the padded batch, and the token that each is to give. */
export interface SupervisedRows {
  rows: number[]
  targets: number[]
}
export function supervised({ rows, targets }: SupervisedRows, chunks: number): Supervision {
  const bounds = Array.from({ length: chunks + 1 }, (_, k) => Math.floor((k * rows.length) / chunks))
  const feeds = { rows: int64(rows), targets: int64(targets), bounds: int64(bounds) }
  return { feeds, count: rows.length, targets }
}
