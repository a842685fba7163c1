export * from './errors.js'
export { Model } from './model/model.js'
export * from './architecture/architecture.js'
export { readModelConfig } from './architecture/open.js'
export { Settings } from './architecture/settings.js'
export { Weights } from './architecture/weights.js'
export * from './model/site.js'
export * from './method/method.js'
export { type Complaint, knownOptions, methodOptions, validate } from './method/options.js'
export { Random, roundHalfEven } from './numbers/random.js'
export { exactRounds, principal, type Svd } from './numbers/principal.js'
export {
  fullMatch,
  named,
  type TargetKinds,
  type TargetOptions,
  targetSchema,
  targets,
} from './method/targets.js'
export { type BiasOption, biasOf, trainBiases, trainModules, trainParameter } from './method/train-fully.js'
export * from './method/schema.js'
export * from './method/prompts.js'
export { sequenceAxis } from './model/attention.js'
export * from './model/virtual-tokens.js'
export { defaultTargets } from './method/default-targets.js'
export { byPattern } from './method/patterns.js'
export { TorchRandom } from './numbers/torch-random.js'
export { NumpyRandom } from './numbers/numpy-random.js'
export { fileKey, moduleKey } from './method/keys.js'
export * from './method/variables.js'
export * from './objective/objective.js'
export * from './metric/metric.js'
export * from './optimizer/optimizer.js'
export { adamw, adamwDefaults } from './optimizer/adamw.js'
export { sgd } from './optimizer/sgd.js'
export { learningRate } from './optimizer/schedule.js'
export { type AdaptOptions, type Adapted, adapt } from './compile/adapt.js'
export * from './compile/step.js'
export * from './runtime/tensor.js'
export { runOnce, Session, type SessionOptions } from './runtime/session.js'
export * from './adapter/files.js'
export * from './files/safetensors.js'
export { type Kind, type Origin, type Plugin, Registry } from './container.js'
export { findPlugin, loadPlugins } from './plugins/load.js'
export { type CaseReport, type Check, tolerancesOn, verify, type VerifyOptions } from './verify/verify.js'
export {
  configSchema,
  loadConfig,
  located,
  pluginAt,
  pluginEntry,
  type PluginEntry,
  type RawConfig,
  type TrainConfig,
} from './config/config.js'
export { ConfigSource } from './config/source.js'
export { planRun } from './trainer/run.js'
export { type Dataset, inMemory, take } from './data/dataset.js'
export { EpochBatches } from './data/batches.js'
export { type Attaching, Step, type StepSettings } from './step/step.js'
export * from './tracking/tracker.js'
export * from './launch/launcher.js'
export { type Prepared, prepare } from './trainer/prepare.js'
export { train, type TrainHooks, type TrainResult } from './trainer/train.js'
export { type Evaluation, Evaluator } from './step/evaluator.js'
export { Stepper } from './step/stepper.js'
export { type Manifest, readManifest } from './adapter/manifest.js'
export { type OpenedAdapter, openAdapter } from './adapter/open.js'
export { type MergeFormat, type MergeReport, merge } from './adapter/merge.js'
export { fold, withWeights } from './adapter/fold.js'
export { type Saved, savedForm } from './adapter/saved.js'
export { batchOf, modelFeeds } from './data/batches.js'
export { prepareContext } from './trainer/prepare-method.js'
export { causalLm } from './objective/causal-lm.js'
export { sequenceClassification } from './objective/classification.js'
export { tokenClassification } from './objective/token-classification.js'
export { type Prediction, predict } from './use/predict.js'
export {
  type Estimate,
  estimateModel,
  type EstimateOptions,
  estimateRun,
  type MethodEstimate,
} from './trainer/estimate.js'
export { measureSpeed } from './runtime/speed.js'
export type { Forecast } from './compile/forecast.js'
export { benchmark, type BenchmarkOptions, type BenchmarkResult } from './trainer/benchmark.js'
export { chosenDevice, probeDevices, runtimeVersion } from './runtime/devices.js'
export { jsonText } from './data/json.js'
export { readRecords } from './data/readers.js'
export type { Columns, DataRecord, Notice } from './data/records.js'
export { Coder } from './data/coder.js'
export { Tokenizer } from './data/tokenizer.js'
export {
  addDims,
  AtomicFile,
  type Builder,
  type MemoryMode,
  memoryModes,
  shapeOf,
  type Value,
  writeAtomically,
} from '@graft-peft/onnx'
export { type Precision, precisions } from './compile/precision.js'
export { Writer, type WritingOptions, type Written } from './use/writer.js'
export { greedy, Sampler, type SamplingOptions } from './use/sampler.js'
export { type Quantisation, quantisations } from './model/quantise.js'
export type { Message } from './data/chat-template.js'
export { pull, type Pulled, type PullOptions, resolveModel } from './hub/pull.js'
export { push, type Pushed, type PushOptions } from './hub/push.js'
export { hubSettings, parseRepository } from './hub/settings.js'
export { type Preview, preview, type PreviewedExample } from './trainer/preview.js'
export {
  combine,
  type CombineMode,
  combineModes,
  type CombineOptions,
  convert,
  type LowRankReport,
  type Part,
} from './adapter/combine.js'
export { unmerge, type UnmergeReport } from './adapter/unmerge.js'
export { type ExportReport, exportAdapter } from './export/export-adapter.js'
export { exportTraining, type TrainingExport } from './export/export-training.js'
export * from './numbers/initialise.js'
export * from './data/example.js'
export { type ChosenDevice, type Device, devices } from './runtime/device.js'
export { type OpenOptions, openModel } from './model/open.js'
export type { TrainFlags } from './trainer/output-folder.js'
