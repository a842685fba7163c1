import type { Builder, Partials, Value } from '@graft/onnx'
import type { AttachContext } from '../method/method.js'
import type { Model } from '../model/model.js'
import type { Tensors } from '../runtime/tensor.js'

export interface ObjectiveContext {
  /** the adapted model */
  model: Model
  g: Builder
  param: AttachContext['param']
  /** number of classes, for classification */
  labels: number
  /** about how many rows a batch supervises: decides how finely logits are computed in chunks */
  rows: number
}
export interface BuiltObjective {
  /** sum of the per-row losses, a scalar */
  lossSum: Value
  /** derivatives that lossSum comes with */
  partials: Partials
  /** most likely class or token per supervised row, int64 */
  predictions: Value
  /** per-row logits [rows, classes], where an objective computes them whole */
  logits?: Value
}

/** One example as the model sees it. */
export interface Example {
  /** token ids, without padding */
  ids: readonly number[]
  /** per token, −100 where not supervised (language modelling) */
  tokenLabels?: readonly number[]
  /** class (classification) */
  label?: number
  /** image, flattened channels × height × width */
  pixels?: Float32Array
}
/** Examples padded on the right to a common length. */
export interface Batch {
  examples: readonly Example[]
  /** padded length in tokens; 0 for images */
  length: number
}
export interface Supervision {
  feeds: Tensors
  /** supervised rows: what the mean loss divides by */
  count: number
  /** the right answers, one per row */
  targets: readonly number[]
}

/** What is learnt: how outputs become a loss, and how examples become its targets. */
export interface Objective {
  kind: 'objective'
  /** version of this interface */
  apiVersion: 1
  name: string
  /** HF PEFT's task_type */
  taskType: string | null
  /** heads trained in full by default, where the model has them (HF PEFT's modules_to_save) */
  savedModules: readonly string[]
  /** whether examples carry a class */
  classifies: boolean
  build(context: ObjectiveContext): BuiltObjective
  /** Logits from the model's own inputs alone, for a model that leaves Graft; the graph's own logits when left out. */
  deploy?(context: ObjectiveContext): Value
  supervise(batch: Batch, chunks: number): Supervision
}

/** Gives an objective its types and its kind; a package default-exports the result. */
export const defineObjective = (objective: Omit<Objective, 'kind' | 'apiVersion'>): Objective => ({ kind: 'objective', apiVersion: 1, ...objective })
