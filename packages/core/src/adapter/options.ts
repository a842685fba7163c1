import { GraftError } from '../errors.js'
import type { PeftMethod } from '../method/method.js'
import { methodOptions, refusalOf } from '../method/options.js'
import type { AdapterConfig } from './files.js'

/** A file's options as a method reads them, and words on those it passes over. */
export interface StoredOptions {
  options: Record<string, unknown>
  notices: string[]
}

/**
 * The options of an adapter_config.json for replaying its training. HF writes every field of its config class: those that are off mean
 * nothing, those that are on must be known to the method. Throws UNSUPPORTED_ADAPTER.
 */
export function supportedOptions(method: PeftMethod, stored: AdapterConfig): Record<string, unknown> {
  const { known, unknown } = sorted(method, stored)
  refuse(method, unknown)
  return methodOptions(method, known)
}

/** The same for using the adapter: what only training reads may say anything, and a number or a word of a later release is passed over, as
 *  HF PEFT does. */
export function optionsForUse(method: PeftMethod, stored: AdapterConfig): StoredOptions {
  const training = new Set(method.trainingOptions)
  const relevant = Object.fromEntries(Object.entries(stored).filter(([key]) => !training.has(key)))
  const { known, unknown } = sorted(method, relevant as AdapterConfig)
  const passed = unknown.filter(([, v]) => typeof v === 'number' || typeof v === 'string')
  refuse(
    method,
    unknown.filter((entry) => !passed.includes(entry)),
  )
  return {
    options: methodOptions(method, known),
    notices: passed.map(
      ([key, v]) =>
        `adapter_config.json: ${key} (${JSON.stringify(v)}) is no option of ${method.name} here; it is passed over.`,
    ),
  }
}

function sorted(method: PeftMethod, stored: AdapterConfig) {
  const names = Object.keys((method.configSchema as { properties: object }).properties)
  const entries = Object.entries(stored)
  return {
    known: Object.fromEntries(entries.filter(([key]) => names.includes(key))),
    unknown: entries.filter(([key, v]) => !names.includes(key) && !bookkeeping.has(key) && isOn(v)),
  }
}
function refuse(method: PeftMethod, unknown: readonly [string, unknown][]): void {
  if (unknown.length > 0)
    throw new GraftError(
      'UNSUPPORTED_ADAPTER',
      `The adapter was made with ${unknown.map(([key, v]) => said(method, key, v)).join('; ')}, which method ${method.name} doesn't have here.`,
    )
}
const said = ({ configSchema }: PeftMethod, key: string, v: unknown): string => {
  const why = refusalOf(configSchema, key)
  return `${key}: ${JSON.stringify(v)}${why ? ` (${why})` : ''}`
}
const isOn = (v: unknown): boolean =>
  !(v === null || v === false || v === 0 || v === '' || v === 'none') &&
  !(typeof v === 'object' && Object.keys(v).length === 0)
/** Fields about the file rather than the method, and sizes of variants that their own switch turns on. */
const bookkeeping = new Set([
  'peft_type',
  'peft_version',
  'task_type',
  'base_model_name_or_path',
  'revision',
  'inference_mode',
  'auto_mapping',
  'megatron_core',
  'qalora_group_size',
  'runtime_config',
])
