import type { Builder, Partials, Shape, Value } from '@graft-peft/onnx'
import type { Task } from '../architecture/architecture.js'
import type { Coder } from '../data/coder.js'
import { type Columns, type DataRecord, labelField } from '../data/records.js'
import type { AttachContext } from '../method/method.js'
import type { Model } from '../model/model.js'
import type { Tensors } from '../runtime/tensor.js'
import { type Example, type Batch } from '../data/example.js'
import { madeHere } from '../copy.js'

/** What an objective gets to build its loss with. */
export interface ObjectiveContext {
  /** the adapted model */
  model: Model
  g: Builder
  /** Declares a trainable tensor of the objective's own, such as a head: starts from `init`, saved beside the adapter's. */
  param: AttachContext['param']
  /** What `supervise` feeds under this name, as a value of the graph; the same name again is the same value. Sizes may be names. */
  input(name: string, dtype: 'float32' | 'int64', shape: Shape): Value
  /** number of classes, for classification */
  labels: number
  /** about how many rows a batch supervises: decides how finely logits are computed in chunks */
  expectedRows: number
}
/** The context's `input` on a graph. */
export const inputOf =
  ({ graph }: Builder): ObjectiveContext['input'] =>
  (name, dtype, shape) =>
    graph.inputs.find((v) => v.name === name) ?? graph.addInput(name, dtype, shape)

/** What an objective adds to the graph: the loss and what is predicted. */
export interface BuiltObjective {
  /** sum of the per-row losses, a float32 scalar; a step divides it by the number of supervised rows */
  lossSum: Value
  /** Derivatives that lossSum comes with, worked out by hand: of a value, by values it is made of. new Map() for none: Graft differentiates.
   *  Who changes a lossSum that came with some leaves them as they are and builds on that value, or passes new Map(). */
  partials: Partials
  /** what is predicted per supervised row: most likely class or token (int64), or a number (float32) */
  predictions: Value
  /** per-row logits [rows, classes], where an objective computes them whole */
  logits?: Value
  /** a vector per row of the batch [rows, width], for objectives that embed */
  embeddings?: Value
}

/** What is fed to the loss for one batch, and what the answers are. */
export interface Supervision {
  /** by the names that `build` gave to `input` */
  feeds: Tensors
  /** supervised rows: what the mean loss divides by */
  count: number
  /** the right answers, one per row */
  targets: readonly number[]
  /** supervised rows of each example, where a metric looks at examples whole */
  lengths?: readonly number[]
}

/** What is learnt: how records become examples, outputs a loss, and examples its targets. */
export interface Objective {
  kind: 'objective'
  /** version of this interface */
  apiVersion: 1
  name: string
  /** HF PEFT's task_type */
  taskType: string | null
  /** the head that a model is built with for it */
  task: Task
  /** heads trained in full by default, where the model has them (HF PEFT's modules_to_save) */
  savedModules: readonly string[]
  /** whether records carry classes: their names are collected from the data */
  classifies: boolean
  /** what it says of an example: one class or number, a class for each token, a vector, or a text that goes on */
  answers: 'example' | 'tokens' | 'vector' | 'text'
  /** whether several texts may share a row, set apart by masks and positions */
  packs: boolean
  /** metrics by name; the first decides which checkpoint is the best */
  metrics: readonly string[]
  /** fields of a record that it reads, by Graft's names; when left out, a config may map any */
  fields?: readonly string[]
  /** label names of one record, where it classifies */
  labelsOf(record: DataRecord, columns: Columns): readonly string[]
  /** an example with its answer */
  encode(record: DataRecord, coder: Coder): Example
  /** an example without its answer, to predict for; as encode where left out */
  input?(record: DataRecord, coder: Coder): Example
  /** the rows of the model's batch that examples make; themselves where left out */
  rows?(examples: readonly Example[]): readonly Example[]
  build(context: ObjectiveContext): BuiltObjective
  /** in how many chunks the output layer of so many classes is computed for about `rows` supervised rows; one when left out */
  chunks?(rows: number, classes: number): number
  /** Logits from the model's own inputs alone, for a model that leaves Graft; the graph's own logits when left out. */
  deploy?(context: ObjectiveContext): Value
  supervise(batch: Batch, chunks: number): Supervision
}

/** Classes that a classifier is built for: one output for an objective without classes. */
export const classCount = (objective: Objective, labels: readonly string[]): number =>
  objective.classifies ? labels.length : 1

type Given = Pick<Objective, 'name' | 'taskType' | 'savedModules' | 'classifies' | 'build' | 'supervise'> &
  Partial<Objective>

/**
 * Gives an objective its types and its kind; a package default-exports the result. What is left out is that of a
 * text classifier or a language model.
 *
 * @throws nothing itself; the default `encode` throws UNKNOWN_LABEL for a label that the data doesn't list.
 */
export const defineObjective = (given: Given): Objective => ({
  task: given.classifies ? 'sequence-classification' : 'causal-lm',
  answers: given.classifies ? 'example' : 'text',
  packs: false,
  metrics: given.classifies ? ['accuracy'] : ['perplexity', 'accuracy'],
  labelsOf: (record, columns) => (given.classifies ? [labelField(record, columns, 'label')] : []),
  input: given.classifies ? (record, coder) => coder.input(record) : undefined,
  encode: given.classifies
    ? (record, coder) => ({
        ...coder.input(record),
        label: coder.labelIndex(labelField(record, coder.options.columns, 'label'), record.where),
      })
    : (record, coder) => coder.language(record),
  ...given,
  kind: 'objective',
  apiVersion: 1,
  ...madeHere,
})
