import { join } from 'node:path'
import { saveAdapter } from '../adapter/files.js'
import { baseFingerprint, writeManifest } from '../adapter/manifest.js'
import { savedForm } from '../adapter/saved.js'
import { adapt, type AdaptOptions } from '../compile/adapt.js'
import { keptPlan } from '../compile/precision.js'
import { hubName } from '../hub/card.js'
import type { TrainConfig } from '../config/config.js'
import type { Prepared } from './prepare.js'

/** Writes a trained adapter into the run's folder: HF PEFT's two files, and what Graft itself needs to use it. Returns the adapter's folder. */
export async function saveTrained(
  config: TrainConfig,
  prepared: Prepared,
  attached: Omit<AdaptOptions, 'training'>,
  parameters: Float32Array,
): Promise<string> {
  const adapter = join(config.output, 'adapter')
  const { method, methodOptions } = config
  const { objective } = prepared
  const saved =
    methodOptions.modules_to_save ?? (objective.savedModules.length > 0 ? objective.savedModules : null)
  const { tensors, options } = await savedForm(
    adapt(prepared.model, { ...attached, training: false }),
    parameters,
  )
  saveAdapter(adapter, tensors, {
    ...methodOptions,
    ...options,
    modules_to_save: saved,
    peft_type: method.peftType,
    task_type: objective.taskType,
    inference_mode: true,
    base_model_name_or_path: hubName(prepared.model.folder) ?? prepared.model.folder,
  })
  writeManifest(adapter, {
    model: prepared.model.path,
    method: method.name,
    options: { ...methodOptions, ...options },
    base: baseFingerprint(prepared.model),
    ...(config.quantize ? { quantize: config.quantize } : {}),
    ...(attached.integers ? { precision: 'int8' as const, integers: keptPlan(attached.integers) } : {}),
    objective: objective.name,
    labels: prepared.labels,
    max_length: prepared.max_length,
    columns: config.data.columns,
  })
  return adapter
}
