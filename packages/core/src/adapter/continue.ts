import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { Registry } from '../container.js'
import type { Adapted } from '../compile/adapt.js'
import { GraftError } from '../errors.js'
import type { StoredTensor } from '../files/safetensors.js'
import { moduleKey } from '../method/keys.js'
import type { PeftMethod } from '../method/method.js'
import { fillVariables, readAdapterConfig, readTensors, weightsFile } from './files.js'
import { hasManifest, readManifest } from './manifest.js'
import { methodFor } from './open.js'
import { optionsForUse } from './options.js'

/** An adapter that training starts from. */
export interface Continued {
  folder: string
  tensors: ReadonlyMap<string, StoredTensor>
  /** tells it from others: a run that is resumed must have started from the same */
  digest: string
}
/** What its files fix of a run. */
export interface ContinuedRun {
  from: Continued
  method: PeftMethod
  options: Record<string, unknown>
  labels: string[] | null
  objective: string | null
}

/**
 * An adapter of Graft's or HF PEFT's to go on training (HF PEFT's is_trainable): its method and options are those of its files, and what
 * the file holds is what is trained. Throws NO_ADAPTER, UNSUPPORTED_ADAPTER.
 */
export function continueFrom(folder: string, registry: Registry): ContinuedRun {
  const config = readAdapterConfig(folder)
  const method = methodFor(folder, config, registry)
  const tensors = readTensors(folder)
  const whole = [...tensors.keys()].filter((key) =>
    /\.(embed_tokens|wte|embed_in|word_embeddings|shared)\.weight$/.test(key),
  )
  const saved = (config.modules_to_save as readonly string[] | null | undefined) ?? []
  if (whole.some((key) => !saved.some((name) => key.includes(`${name}.`))))
    throw new GraftError(
      'UNSUPPORTED_ADAPTER',
      `${folder}: the adapter brings an embedding of its own (${whole[0].slice(moduleKey('').length)}), which training can't go on from. Merge it into its base with graft merge, and train on the result.`,
    )
  const manifest = hasManifest(folder) ? readManifest(folder) : undefined
  const digest = createHash('sha256')
  for (const [key, { data }] of tensors) digest.update(key).update(data)
  return {
    from: { folder, tensors, digest: digest.digest('hex') },
    method,
    options: { ...optionsForUse(method, config).options, modules_to_save: saved },
    labels: manifest && manifest.labels.length > 0 ? [...manifest.labels] : null,
    objective: manifest?.objective ?? null,
  }
}

/** Where a run's parameters start: drawn by its seed, or what the adapter holds. Throws ADAPTER_MISMATCH. */
export const startOf = (from: Continued | null, adapted: Adapted, seed: number): Float32Array =>
  from
    ? fillVariables(join(from.folder, weightsFile), from.tensors, adapted)
    : adapted.variables.initial(seed)
