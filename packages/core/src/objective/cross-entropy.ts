import type { Builder, Value } from '@graft-peft/onnx'

export interface RowLosses {
  /** −log p of each row's target, [rows, 1] */
  perRow: Value
  /** derivative of the summed loss with respect to the logits: p − onehot(target) */
  slope: Value
}

/**
 * Cross entropy of logits [rows, classes] against targets [rows], with its gradient computed right there: softmax − onehot.
 * The gradient reads the target's log-probability, so ONNX Runtime computes the loss before it frees the logits.
 */
export function crossEntropy(g: Builder, logits: Value, targets: Value): RowLosses {
  const column = g.unsqueeze(targets, [-1])
  const logP = g.op('LogSoftmax', [g.cast(logits, 'float32')], { axis: -1 })
  const target = g.op('GatherElements', [logP, column], { axis: -1 })
  const correction = g.sub(g.exp(target), g.scalar(1))
  const slope = g.op('ScatterElements', [g.exp(logP), column, correction], { axis: -1 })
  return { perRow: g.neg(target), slope: g.cast(slope, logits.dtype) }
}
