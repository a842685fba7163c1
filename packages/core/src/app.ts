/**
 * What programs train, use, change and move adapters with.
 *
 * @module @graft-peft/core/app
 */

// What is installed.
export { type Kind, type Origin, type Plugin, Registry } from './container.js'
export { loadPlugins } from './plugins/load.js'

// Training, and what to know before it.
export { loadConfig, type TrainConfig } from './config/config.js'
export { train } from './trainer/train.js'
export type { TrainFlags } from './trainer/output-folder.js'
export type { Evaluation } from './step/evaluator.js'
export { type Preview, preview, type PreviewedExample } from './trainer/preview.js'
export {
  type Estimate,
  estimateModel,
  type EstimateOptions,
  estimateRun,
  type MethodEstimate,
} from './trainer/estimate.js'
export { benchmark, type BenchmarkOptions, type BenchmarkResult } from './trainer/benchmark.js'
export { type MemoryMode, memoryModes } from '@graft-peft/onnx'
export { type Precision, precisions } from './compile/precision.js'
export { type Quantisation, quantisations } from './model/quantise.js'
export { type OpenOptions, openModel } from './model/open.js'

// Using an adapter.
export { type Manifest, readManifest } from './adapter/manifest.js'
export { type OpenedAdapter, openAdapter } from './adapter/open.js'
export { type AdapterDescription, describeAdapter } from './adapter/describe.js'
export { Classifier } from './use/classifier.js'
export type { Prediction } from './use/prediction.js'
export { predict } from './use/predict.js'
export { evaluate, type EvaluateOptions, type EvaluationReport } from './use/evaluate.js'
export type { ClassMean, ClassScore, ClassScores } from './metric/class-scores.js'
export { type Generated, type GenerationOptions, Generator, type Prompt } from './use/generator.js'
export type { SamplingOptions } from './use/sampler.js'
export type { Message } from './data/chat-template.js'
export { readRecords } from './data/readers.js'

// Changing it.
export { type MergeFormat, type MergeReport, merge } from './adapter/merge.js'
export { unmerge, type UnmergeReport } from './adapter/unmerge.js'
export {
  combine,
  convert,
  type LowRankReport,
  type WeightedAdapter,
} from './adapter/combine.js'
export { type ExportReport, exportAdapter } from './export/export-adapter.js'
export { exportTraining, type TrainingExport } from './export/export-training.js'

// The Hub.
export { pull, type Pulled, type PullOptions, resolveModel } from './hub/pull.js'
export { push, type Pushed, type PushOptions } from './hub/push.js'

// Proof, and the machine.
export type { CaseReport, Check } from './verify/checks.js'
export { verify, type VerifyOptions } from './verify/verify.js'
export { type ChosenDevice, type Device, devices } from './runtime/device.js'
export { chosenDevice, probeDevices, runtimeVersion } from './runtime/devices.js'
export { type MeasuredType, measuredTypes, measureSpeed } from './runtime/speed.js'
export { saturates } from './runtime/integers.js'
export type { Phase, TrainHooks, TrainResult } from './trainer/hooks.js'
export { type CombineMode, combineModes, type CombineOptions } from './adapter/blend.js'
