import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '@graft/onnx'
import { GraftError, suggestion } from '../errors.js'
import type { Variables } from '../method/variables.js'
import { floatsOf, readSafetensors, storedFloats, writeSafetensors } from './safetensors.js'

/** HF PEFT's two adapter files. */
export const configFile = 'adapter_config.json'
export const weightsFile = 'adapter_model.safetensors'
/** HF PEFT wraps the base model; its keys start with the wrapper's path. */
export const keyPrefix = 'base_model.model.'

export interface AdapterConfig extends Record<string, unknown> {
  peft_type: string
  base_model_name_or_path?: string | null
  task_type?: string | null
}

/** Writes an adapter that HF PEFT loads: config with sorted keys, tensors by HF's names. */
export function saveAdapter(folder: string, variables: Variables, flat: Float32Array, config: AdapterConfig): void {
  mkdirSync(folder, { recursive: true })
  const tensors = variables.list.map(({ name, shape, offset, size }) => [keyPrefix + name, storedFloats(flat.slice(offset, offset + size), shape)] as const)
  writeSafetensors(join(folder, weightsFile), { tensors: new Map(tensors), metadata: { format: 'pt' } })
  writeAtomically(join(folder, configFile), `${JSON.stringify(sorted(config), null, 2)}\n`)
}
const sorted = (config: AdapterConfig): Record<string, unknown> => Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)))

export function readAdapterConfig(folder: string): AdapterConfig {
  const path = join(folder, configFile)
  if (!existsSync(path)) throw new GraftError('NO_ADAPTER', `${folder}: no ${configFile} there, so no adapter. Give the folder that training wrote.`)
  let config: unknown
  try {
    config = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new GraftError('BAD_ADAPTER', `${path}: not JSON (${(cause as Error).message}).`, { cause })
  }
  if (typeof (config as AdapterConfig | null)?.peft_type !== 'string') throw new GraftError('BAD_ADAPTER', `${path}: key peft_type is missing.`)
  return config as AdapterConfig
}

/** Reads an adapter's tensors into a flat vector. Every tensor must be there, with the right shape, and none besides. */
export function loadAdapter(folder: string, variables: Variables): Float32Array {
  return loadTensors(join(folder, weightsFile), variables)
}

/** Reads the variables from a safetensors file by name. Throws ADAPTER_MISMATCH naming each missing, surplus or mis-shaped tensor. */
export function loadTensors(path: string, variables: Variables): Float32Array {
  const { tensors } = readSafetensors(path)
  const flat = new Float32Array(variables.total)
  const wrong: string[] = []
  const names = new Set(variables.list.map((v) => keyPrefix + v.name))
  for (const { name, shape, offset } of variables.list) {
    const stored = tensors.get(keyPrefix + name)
    if (!stored) wrong.push(`${keyPrefix + name} is missing`)
    else if (`${stored.shape}` !== `${shape}`) wrong.push(`${keyPrefix + name} is [${stored.shape.join(', ')}], expected [${shape.join(', ')}]`)
    else flat.set(floatsOf(stored, name), offset)
  }
  for (const name of tensors.keys()) if (!names.has(name)) wrong.push(`${name} belongs to no module of this model. ${suggestion(name, [...names].slice(0, 8))}`)
  if (wrong.length > 0)
    throw new GraftError(
      'ADAPTER_MISMATCH',
      `${path} doesn't fit the model: ${wrong.slice(0, 5).join('; ')}${wrong.length > 5 ? `; and ${wrong.length - 5} more` : ''}. Is it an adapter of another base model, or of other options?`,
    )
  return flat
}
