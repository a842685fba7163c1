/**
 * The core's own parts, for Graft's packages and tests. Nothing here is promised: any of it may change with any version.
 *
 * @packageDocumentation
 */
export { ConfigSource } from './config/source.js'
export {
  configSchema,
  located,
  methodAt,
  pluginAt,
  pluginEntry,
  type PluginEntry,
  type RawConfig,
} from './config/config.js'
export { findPlugin } from './plugins/load.js'
export { Permutation } from './data/order.js'
export { knownOptions, methodOptions, startingOptions, startingRate, validate } from './method/options.js'
export type { Variable } from './method/variables.js'
export { ChatTemplate, type Conversation } from './data/chat-template.js'
export { JinjaTemplate } from './data/jinja/template.js'
export { jsonText, parseJson } from './data/json.js'
export { readPixels } from './data/images.js'
export { batchOf, EpochBatches, modelFeeds } from './data/batches.js'
export { HoldOut } from './data/hold-out.js'
export { inMemory, take } from './data/dataset.js'
export { Tokenizer, tokenizerOf } from './data/tokenizer.js'
export { classCount } from './objective/objective.js'
export { Confusion, EntityCounts } from './metric/class-scores.js'
export { adamw, adamwDefaults } from './optimizer/adamw.js'
export { sgd } from './optimizer/sgd.js'
export { type AdaptOptions, type Adapted, adapt } from './compile/adapt.js'
export { unit } from './compile/dropout.js'
export type { Forecast } from './compile/forecast.js'
export { compileEvaluation, compileGradient, compileStep, next } from './compile/step.js'
export { int32, numbers, scalar } from './runtime/tensor.js'
export { runOnce, Session } from './runtime/session.js'
export { type Attaching, Step, type StepSettings } from './step/step.js'
export { Forward } from './step/forward.js'
export { Evaluator } from './step/evaluator.js'
export { Stepper } from './step/stepper.js'
export { surveyRounding } from './step/rounding.js'
export { roundedPlan } from './trainer/rounding.js'
export { forecastRun, planRun } from './trainer/run.js'
export { type RunInputs, readInputs } from './trainer/inputs.js'
export { countedPositions, prepareContext } from './trainer/prepare-method.js'
export { fillVariables } from './adapter/files.js'
export { fold, withWeights } from './adapter/fold.js'
export { savedForm } from './adapter/saved.js'
export { isObject, readJson, readText, shown } from './files/json.js'
export { FolderLock, makeFolder } from './files/folder-lock.js'
export { fileDigest, modelDigest } from './files/digest.js'
export { checked, checkedLine } from './files/checked-lines.js'
export { type EvaluationLine, type LogLine, readLog, type StepLine } from './files/log.js'
export { readSafetensors, writeSafetensors } from './files/safetensors.js'
export { Decoder, Sequence } from './use/decoder.js'
export { greedy, Sampler } from './use/sampler.js'
export { tolerancesOn } from './verify/checks.js'
export { AtomicFile, diskError, isAlive, printable } from '@graft-peft/onnx'
