import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { GraftError, suggestion } from '../errors.js'
import type { FrozenTensor, Variables } from '../method/variables.js'
import { fileKey } from '../method/keys.js'
import { readObject, shown } from '../files/json.js'
import { floatsOf, readSafetensors, type StoredTensor, writeSafetensors } from '../files/safetensors.js'
import { makeFolder } from '../files/folders.js'

/** HF PEFT's two adapter files. */
export const configFile = 'adapter_config.json'
export const weightsFile = 'adapter_model.safetensors'

/** adapter_config.json. */
export interface AdapterConfig extends Record<string, unknown> {
  peft_type: string
  base_model_name_or_path?: string | null
  task_type?: string | null
}

/** Writes an adapter that HF PEFT loads: config with sorted keys, tensors by HF's names. */
export function saveAdapter(folder: string, tensors: Map<string, StoredTensor>, config: AdapterConfig): void {
  writeTensors(folder, tensors)
  writeAtomically(join(folder, configFile), `${JSON.stringify(sorted(config), null, 2)}\n`)
}
/** Writes tensors as an adapter's folder holds them; `file` where that has another name there. */
export function writeTensors(folder: string, tensors: Map<string, StoredTensor>, file = weightsFile): void {
  makeFolder(folder)
  writeSafetensors(join(folder, file), { tensors, metadata: { format: 'pt' } })
}
const sorted = (config: AdapterConfig): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)))

/**
 * The config in an adapter's folder.
 *
 * @throws NO_ADAPTER, BAD_ADAPTER.
 */
export function readAdapterConfig(folder: string): AdapterConfig {
  const path = join(folder, configFile)
  if (!existsSync(path)) {
    const inside = join(folder, 'adapter')
    const advice = existsSync(join(inside, configFile))
      ? `It lies in ${inside}`
      : 'Give the folder that training wrote'
    throw new GraftError('NO_ADAPTER', `${folder}: no ${configFile} there, so no adapter. ${advice}.`)
  }
  const config = readObject(path, 'BAD_ADAPTER')
  if (typeof config.peft_type !== 'string')
    throw new GraftError('BAD_ADAPTER', `${path}: key peft_type is missing.`)
  const saved = config.modules_to_save ?? []
  if (!Array.isArray(saved) || saved.some((name) => typeof name !== 'string'))
    throw new GraftError(
      'BAD_ADAPTER',
      `${path}: modules_to_save should be a list of names, got ${shown(saved)}.`,
    )
  return config as AdapterConfig
}

/**
 * A file's tensors without those that say nothing new. HF PEFT writes a tensor that modules share once per module, the frozen
 * table beside an adapted embedding, and a head's original beside the trained one.
 */
export function withoutCopies(
  tensors: ReadonlyMap<string, StoredTensor>,
  names: ReadonlySet<string>,
): Map<string, StoredTensor> {
  const known = [...tensors].filter(([key]) => names.has(key)).map(([, t]) => t)
  const isCopy = (t: StoredTensor) =>
    known.some((k) => `${k.shape}` === `${t.shape}` && Buffer.compare(k.data, t.data) === 0)
  const frozen = /\.base_layer\.weight$|\.original_module\./
  return new Map([...tensors].filter(([key, t]) => names.has(key) || !(frozen.test(key) || isCopy(t))))
}

/**
 * The tensors in an adapter's folder, by key; `file` where that has another name there.
 *
 * @throws PICKLED_ADAPTER, and what reading safetensors throws.
 */
export function readTensors(folder: string, file = weightsFile): Map<string, StoredTensor> {
  const path = join(folder, file)
  if (!existsSync(path) && existsSync(join(folder, pickledFile)))
    throw new GraftError(
      'PICKLED_ADAPTER',
      `${folder}: the weights lie in ${pickledFile}, which runs code when it is loaded, so Graft doesn't read it. Load it once with HF PEFT and save_pretrained, which writes ${weightsFile}.`,
    )
  return readSafetensors(path).tensors
}
const pickledFile = 'adapter_model.bin'

/** Puts a file's tensors into a flat vector. Every variable and buffer must be there, with the right shape, and nothing besides.
 *  Throws ADAPTER_MISMATCH naming each missing, surplus or mis-shaped tensor. */
export function fillVariables(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  { variables, buffers }: { variables: Variables; buffers: readonly FrozenTensor[] },
): Float32Array {
  const wrong: string[] = []
  const filled = buffers.filter((b) => b.stored).map(fileKey)
  for (const key of filled) if (!tensors.has(key)) wrong.push(`${key} is missing`)
  const names = new Set([...variables.list.map(fileKey), ...filled])
  for (const variable of variables.list) {
    const [key, { shape }] = [fileKey(variable), variable]
    const stored = tensors.get(key)
    if (!stored) wrong.push(`${key} is missing`)
    else if (`${stored.shape}` !== `${shape}`)
      wrong.push(`${key} is [${stored.shape.join(', ')}], expected [${shape.join(', ')}]`)
  }
  for (const key of withoutCopies(tensors, names).keys())
    if (!names.has(key))
      wrong.push(`${key} belongs to no module of this model. ${suggestion(key, [...names].slice(0, 8))}`)
  if (wrong.length > 0)
    throw new GraftError(
      'ADAPTER_MISMATCH',
      `${path} doesn't fit the model: ${wrong.slice(0, 5).join('; ')}${wrong.length > 5 ? `; and ${wrong.length - 5} more` : ''}. Is it an adapter of another base model, or of other options?`,
    )
  // Only now: what a file claims may be larger than any memory.
  const flat = new Float32Array(variables.total)
  for (const variable of variables.list) {
    const key = fileKey(variable)
    flat.set(floatsOf(tensors.get(key) as StoredTensor, key), variable.offset)
  }
  return flat
}
