import { join } from 'node:path'
import { saveAdapter } from '../adapter/files.js'
import { baseFingerprint, writeManifest } from '../adapter/manifest.js'
import { savedForm } from '../adapter/saved.js'
import { saveTokenizer } from '../adapter/besides.js'
import { adapt, type AdaptOptions } from '../compile/adapt.js'
import { keptPlan } from '../compile/precision.js'
import { hubName } from '../hub/card.js'
import type { Model } from '../model/model.js'
import type { TrainConfig } from '../config/config.js'
import type { RunInputs } from './inputs.js'

/**
 * Writes a trained adapter into the run's folder: HF PEFT's two files, and what Graft itself needs to use it.
 * Returns the adapter's folder.
 */
export async function saveTrained(
  config: TrainConfig,
  inputs: RunInputs,
  attached: Omit<AdaptOptions, 'training'>,
  parameters: Float32Array,
): Promise<string> {
  const adapter = join(config.output, 'adapter')
  const { method, methodOptions } = config
  const { objective } = inputs
  const saved =
    methodOptions.modules_to_save ?? (objective.savedModules.length > 0 ? objective.savedModules : null)
  const adapted = adapt(inputs.model, { ...attached, training: false })
  const { targeted } = adapted.model
  const { tensors, options } = await savedForm(adapted, parameters)
  saveAdapter(adapter, tensors, {
    ...peftOptions(config, targeted),
    ...options,
    ...(saved === null && method.ownOptions?.includes('modules_to_save') ? {} : { modules_to_save: saved }),
    peft_type: method.peftType,
    task_type: objective.taskType,
    inference_mode: true,
    base_model_name_or_path: hubName(inputs.model.folder) ?? inputs.model.origin ?? inputs.model.folder,
  })
  if (inputs.model.addedTokens.length > 0) saveTokenizer(inputs.model, adapter)
  writeManifest(adapter, {
    model: inputs.model.path,
    method: method.name,
    options: { ...methodOptions, ...options },
    base: baseFingerprint(inputs.model),
    ...(config.quantize ? { quantize: config.quantize } : {}),
    ...(attached.integers ? { precision: 'int8' as const, integers: keptPlan(attached.integers) } : {}),
    objective: objective.name,
    labels: inputs.labels,
    max_length: inputs.max_length,
    columns: config.data.columns,
  })
  return adapter
}

/** The options as HF PEFT's config class takes them: its own keys alone, and targets that mean the same to it. */
function peftOptions(
  { method, methodOptions }: TrainConfig,
  targeted: Model['targeted'],
): Record<string, unknown> {
  const own = new Set(method.ownOptions)
  const kept = Object.fromEntries(Object.entries(methodOptions).filter(([key]) => !own.has(key)))
  if (!targeted || !('target_modules' in kept)) return kept
  const narrowed = narrowing.some((key) => own.has(key) && (methodOptions[key] ?? null) !== null)
  return { ...kept, target_modules: narrowed ? targeted.paths : (targeted.names ?? targeted.paths) }
}
const narrowing = ['exclude_modules', 'layers_to_transform', 'layers_pattern']
