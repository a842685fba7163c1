/**
 * What authors of plugins write methods, objectives, metrics, architectures, optimisers, schedules, readers, trackers and launchers with.
 * Programs that train and use adapters import `@graft-peft/core/app`, or both at once from `graft-peft`.
 *
 * @module @graft-peft/core
 */

// Errors: what was expected, what came, where, what to do.
export { entryOf, GraftError, suggestion } from './errors.js'
export type { ErrorCode } from './codes.js'

// A method edits the graph of a model and declares variables.
export {
  type Adapter,
  type AfterStep,
  type AttachContext,
  definePeftMethod,
  type LowRankForm,
  type LowRankUpdate,
  type MergedWeight,
  noVirtualTokens,
  type PeftMethod,
  type PrepareContext,
  type SavedForm,
  type VirtualTokens,
} from './method/method.js'
export { type BufferOptions, copyOf, numbersIn, type VariableOptions } from './method/variables.js'
export {
  constant,
  type Initialiser,
  kaimingUniform,
  normal,
  ones,
  transpose,
  uniform,
  zeros,
} from './numbers/initialise.js'
export { fileKey, moduleKey } from './method/keys.js'

// Its options, and the modules that they choose.
export {
  biasOption,
  flag,
  oneOf,
  only,
  optionSchema,
  pattern,
  positive,
  real,
  share,
  targetedSchema,
  whole,
} from './method/schema.js'
export { named, type TargetKinds, type TargetOptions, targets } from './method/targets.js'
export { defaultTargets } from './method/default-targets.js'
export { byPattern } from './method/patterns.js'
export { isTied, type RowsToTrain, trainOutputRows, trainRows } from './method/train-rows.js'
export { type BiasOption, biasOf, trainBiases, trainParameter } from './method/train-fully.js'

// The model: modules as sites, what they compute as slots.
export { Model } from './model/model.js'
export {
  type AttentionSite,
  type ConvSite,
  type EmbeddingSite,
  type InputSlot,
  type LinearSite,
  type NormSite,
  type QuantisedSlot,
  type Site,
  type ValueSlot,
  WeightSlot,
} from './model/site.js'

// Prompts: virtual tokens and what stands for them.
export { dropEncoder, promptKey, type PromptOptions, promptRecord, promptSchema } from './method/prompts.js'
export { sequenceAxis } from './model/attention.js'
export {
  embeddingWidth,
  hideFromPoolers,
  overwriteEmbeddings,
  overwriteKeysAndValues,
} from './model/virtual-tokens.js'

// Graphs and numbers.
export {
  addDims,
  type Builder,
  type Dim,
  is,
  pickRows,
  type Shape,
  shapeOf,
  type Value,
} from '@graft-peft/onnx'
export { Random, roundHalfEven } from './numbers/random.js'
export { NumpyRandom, NumpyRandomState } from './numbers/numpy-random.js'
export { bfloat16, TorchRandom } from './numbers/torch-random.js'
export { activations } from './method/activations.js'
export { exactRounds, principal, type Svd } from './numbers/principal.js'
export { lowRankSvd } from './numbers/low-rank-svd.js'
export { float32, int64, type NumericArray, type Tensor, type Tensors } from './runtime/tensor.js'
export { floatsOf, type StoredTensor, storedFloats } from './files/safetensors.js'
export {
  type AdapterConfig,
  readAdapterConfig,
  readTensors,
  saveAdapter,
  writeTensors,
} from './adapter/files.js'

// An objective: records to examples, outputs to a loss.
export {
  type BuiltObjective,
  defineObjective,
  type Objective,
  type ObjectiveContext,
  type Supervision,
} from './objective/objective.js'
export type { Batch, Example } from './data/example.js'
export { causalLm } from './objective/causal-lm.js'
export { lastTokens, score, sequenceClassification } from './objective/classification.js'
export { regression } from './objective/regression.js'
export { tokenClassification } from './objective/token-classification.js'
export { Coder } from './data/coder.js'
export type { Columns, DataRecord } from './data/records.js'
export { defineMetric, type Metric, type Scored, type Tally } from './metric/metric.js'

// An architecture: a forward graph from config.json and weights.
export {
  type Architecture,
  type ArchitectureContext,
  defineArchitecture,
  type Task,
} from './architecture/architecture.js'
export { Settings } from './architecture/settings.js'
export type { Weights } from './architecture/weights.js'

// What training goes by: optimisers and learning-rate schedules; and data files as records.
export {
  defineOptimizer,
  type Optimizer,
  type OptimizerKind,
  type OptimizerNumbers,
} from './optimizer/optimizer.js'
export { defineSchedule, type Schedule, type SchedulePlace } from './optimizer/schedule.js'
export { defineReader, type Reader } from './data/readers.js'
export type { Notice } from './data/records.js'

// Trackers and launchers: where numbers go, and who does the runs.
export { defineTracker, type TrackedRun, type Tracker, type Tracking } from './tracking/tracker.js'
export {
  defineLauncher,
  type Job,
  type JobEnd,
  type JobProgress,
  type LaunchContext,
  type Launcher,
} from './launch/launcher.js'
export { writeAtomically } from '@graft-peft/onnx'
export { appendLine } from './files/checked-lines.js'
export { readJsonLines, readObject } from './files/json.js'
