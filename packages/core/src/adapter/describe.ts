import { floatsOf } from '../files/safetensors.js'
import { moduleKey } from '../method/keys.js'
import { readAdapterConfig, readTensors } from './files.js'
import { hasManifest, readManifest } from './manifest.js'

/** What an adapter is by its files alone: method, options, base and tensors. */
export interface AdapterDescription {
  folder: string
  peft_type: string
  task_type: string | null
  /** as recorded: a repository, or a folder where it was trained */
  base: string | null
  objective: string | null
  labels: readonly string[]
  /** options that are set to something */
  options: Record<string, unknown>
  parameters: number
  tensors: { name: string; dtype: string; shape: readonly number[]; norm: number | null }[]
}

/**
 * What an adapter's files say, without its base.
 *
 * @throws NO_ADAPTER, BAD_ADAPTER, PICKLED_ADAPTER, and what reading safetensors throws.
 */
export function describeAdapter(folder: string): AdapterDescription {
  const {
    peft_type,
    task_type = null,
    base_model_name_or_path: base = null,
    ...options
  } = readAdapterConfig(folder)
  const manifest = hasManifest(folder) ? readManifest(folder) : undefined
  const tensors = [...readTensors(folder)].map(([key, tensor]) => ({
    name: key.startsWith(moduleKey('')) ? key.slice(moduleKey('').length) : key,
    dtype: tensor.dtype,
    shape: tensor.shape,
    norm: /^(F|BF)/.test(tensor.dtype)
      ? Math.sqrt(floatsOf(tensor, key).reduce((s, v) => s + v * v, 0))
      : null,
  }))
  return {
    folder,
    peft_type,
    task_type,
    base: manifest?.model ?? base,
    objective: manifest?.objective ?? null,
    labels: manifest?.labels ?? [],
    options: Object.fromEntries(Object.entries(options).filter(([, v]) => isSet(v))),
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    tensors,
  }
}
const isSet = (v: unknown): boolean =>
  v !== null && v !== false && !(typeof v === 'object' && Object.keys(v).length === 0)
