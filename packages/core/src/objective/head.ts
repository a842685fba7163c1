import { type Node, type Value } from '@graft-peft/onnx'

/** The part of a graph from hidden states to logits, when it treats every position alike. */
export interface RowHead {
  hidden: Value
  logits: Value
  nodes: readonly Node[]
  /** trainable tensors that the head reads */
  parameters: readonly Value[]
}
