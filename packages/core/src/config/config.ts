import { existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { GraftError } from '../errors.js'
import type { Registry } from '../container.js'
import { type Continued, continueFrom } from '../adapter/continue.js'
import { loadPlugins } from '../plugins/load.js'
import { type PullOptions, resolveModel } from '../hub/pull.js'
import type { PeftMethod } from '../method/method.js'
import { startingOptions, startingRate } from '../method/options.js'
import { type Quantisation, quantisations } from '../model/quantise.js'
import { type MemoryMode, memoryModes } from '@graft-peft/onnx'
import { type Precision, precisions } from '../compile/precision.js'
import type { Optimizer, OptimizerNumbers } from '../optimizer/optimizer.js'
import type { ChosenSchedule, RateOptions } from '../optimizer/schedule.js'
import { adamwDefaults } from '../optimizer/adamw.js'
import { type ChosenDevice, type Device, devices } from '../runtime/device.js'
import { chosenDevice } from '../runtime/devices.js'
import type { ChosenTracker } from '../tracking/tracker.js'
import { expandHome } from '../files/home.js'
import { withNewRows } from './new-tokens.js'
import { optimizerOf, pluginAt, type PluginEntry, pluginEntry, scheduleOf } from './entries.js'
import { refuseForeign } from './foreign.js'
import { ConfigSource } from './source.js'

export interface TrainingOptions extends RateOptions, OptimizerNumbers {
  epochs: number
  max_steps: number | null
  batch_size: number
  gradient_accumulation: number
  /** as the config names it; what it means is in `optimizer` */
  optimizer: PluginEntry
  schedule: PluginEntry
  max_grad_norm: number
  /** steps between evaluations; null: after each epoch */
  eval_every: number | null
  /** steps between checkpoints */
  save_every: number
  /** steps that are one run of the session; null: as suits the device */
  steps_per_run: number | null
  /** evaluations without improvement before training stops; null: never */
  early_stopping: number | null
}
export interface DataOptions {
  train: string
  /** a file, or a share of the training file held out */
  validation: string | number
  test: string | null
  columns: Record<string, string>
  /** names of the classes in order, where neither data nor checkpoint have them */
  labels: string[] | null
  max_length: number | null
  train_on_prompt: boolean
  /** several texts in a row, for language modelling */
  packing: boolean
}
/**
 * A training config, checked and completed: paths absolute, plugins found. docs/config.md has each key's
 * meaning and range.
 */
export interface TrainConfig {
  model: string
  /** the adapter that training goes on from */
  adapter: Continued | null
  /** packages or paths that bring methods and objectives */
  plugins: readonly string[]
  data: DataOptions
  /** added to the vocabulary */
  tokens: readonly string[]
  objective: string | null
  /** decides which checkpoint is the best; the objective's own when left out */
  metric: string | null
  method: PeftMethod
  methodOptions: Record<string, unknown>
  /** what the config leaves open and the method chose: options by name, and learning_rate */
  chosen: Readonly<Record<string, unknown>>
  training: TrainingOptions
  output: string
  seed: number
  device: ChosenDevice
  threads: number | null
  /** keep the frozen base in fewer bits */
  quantize: Quantisation | null
  /** what the backward pass keeps: everything, what is dear to compute again, little */
  memory: MemoryMode
  /** what products are computed in; parameters and their updates are float32 */
  precision: Precision
  /** compute once per example what frozen layers below the adapter make of it */
  cache: 'frozen-prefix' | null
  optimizer: Optimizer
  schedule: ChosenSchedule
  /** who is told how the run goes, beside its log */
  trackers: readonly ChosenTracker[]
}
const text = { type: 'string', minLength: 1 } as const
const nullable = (schema: object) => ({ anyOf: [schema, { type: 'null' }], default: null })
const count = { type: 'integer', minimum: 1 } as const
const share = { type: 'number', minimum: 0, exclusiveMaximum: 1 } as const
const object = (properties: object, required: string[] = []) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required,
  default: {},
})

export const configSchema = object(
  {
    model: text,
    adapter: nullable(text),
    plugins: { type: 'array', items: text, default: [] },
    method: pluginEntry,
    tokens: { type: 'array', items: text, uniqueItems: true, default: [] },
    objective: nullable(text),
    metric: nullable(text),
    data: object(
      {
        train: text,
        validation: { anyOf: [text, share], default: 0.1 },
        test: nullable(text),
        columns: { type: 'object', additionalProperties: text, default: {} },
        labels: nullable({ type: 'array', items: text, minItems: 2, uniqueItems: true }),
        max_length: nullable({ type: 'integer', minimum: 2 }),
        train_on_prompt: { type: 'boolean', default: false },
        packing: { type: 'boolean', default: false },
      },
      ['train'],
    ),
    training: object({
      epochs: { ...count, default: 3 },
      max_steps: nullable(count),
      batch_size: { ...count, default: 8 },
      gradient_accumulation: { ...count, default: 1 },
      learning_rate: nullable({ type: 'number', exclusiveMinimum: 0 }),
      schedule: { ...pluginEntry, default: 'cosine' },
      warmup_steps: { type: 'integer', minimum: 0, default: 0 },
      optimizer: { ...pluginEntry, default: 'adamw' },
      weight_decay: { type: 'number', minimum: 0, default: adamwDefaults.weight_decay },
      betas: { type: 'array', items: share, minItems: 2, maxItems: 2, default: adamwDefaults.betas },
      epsilon: { type: 'number', exclusiveMinimum: 0, default: adamwDefaults.epsilon },
      momentum: { ...share, default: adamwDefaults.momentum },
      max_grad_norm: { type: 'number', minimum: 0, default: 1 },
      eval_every: nullable(count),
      save_every: { ...count, default: 100 },
      steps_per_run: nullable(count),
      early_stopping: nullable(count),
    }),
    output: { ...text, default: 'out' },
    seed: { type: 'integer', default: 0 },
    device: { enum: [...devices], default: 'auto' },
    threads: nullable({ ...count, maximum: 1024 }),
    quantize: { enum: [...quantisations, null], default: null },
    memory: { enum: [...memoryModes], default: 'balanced' },
    precision: { enum: [...precisions], default: 'float32' },
    cache: { enum: ['frozen-prefix', null], default: null },
    trackers: { type: 'array', items: pluginEntry, default: [] },
  },
  ['model', 'data'],
)

/**
 * Reads a YAML training config and imports the plugins it names; `overrides` are key=value pairs with dotted
 * keys.
 *
 * @throws CONFIG_NOT_FOUND, BAD_YAML or BAD_CONFIG with file, line and column of each fault, OTHER_TOOL for another
 * tool's config, and what loading plugins throws.
 */
export async function loadConfig(
  path: string,
  registry: Registry,
  overrides: readonly string[] = [],
  hub: PullOptions = {},
): Promise<TrainConfig> {
  const source = new ConfigSource(path)
  for (const override of overrides) source.override(override)
  const contents = source.contents()
  refuseForeign(source, contents)
  const raw = source.check<RawConfig>(configSchema, contents, [])
  await loadPlugins(raw.plugins, dirname(path), registry)
  const { method, methodOptions, adapter, ...own } = await methodOf(source, raw, registry, path, hub)
  const learning_rate = raw.training.learning_rate ?? startingRate(method)
  const trackers = raw.trackers.map((entry, i) => {
    const { plugin, options } = pluginAt(source, registry, 'tracker', entry, ['trackers', `${i}`])
    return { tracker: plugin, options }
  })
  const optimizer = optimizerOf(source, registry, raw.training)
  const schedule = scheduleOf(source, registry, raw.training)
  const device = await chosenDevice(raw.device)
  const chosen = raw.training.learning_rate === null ? { ...own.chosen, learning_rate } : own.chosen
  const training = { ...raw.training, learning_rate }
  const fixed = { training, device, method, methodOptions, chosen, adapter, trackers, optimizer, schedule }
  const here = await located(raw, path, hub)
  return { ...here, ...fixed, ...withNewRows(source, { ...here, ...fixed }, registry) }
}
type Resolved =
  | 'adapter'
  | 'method'
  | 'methodOptions'
  | 'chosen'
  | 'trackers'
  | 'device'
  | 'training'
  | 'optimizer'
  | 'schedule'
/** A training config as it is written. */
export type RawConfig = Omit<TrainConfig, Resolved> & {
  device: Device
  adapter: string | null
  /** learning_rate null: the method's own */
  training: Omit<TrainingOptions, 'learning_rate'> & { learning_rate: number | null }
  method: PluginEntry
  trackers: readonly PluginEntry[]
}

/** The method that a config names at `keys`, with the options it will train with. Throws UNKNOWN_PLUGIN, BAD_CONFIG. */
export function methodAt(
  source: ConfigSource,
  registry: Registry,
  entry: PluginEntry,
  keys: readonly string[],
): { method: PeftMethod; methodOptions: Record<string, unknown>; chosen: Record<string, unknown> } {
  const { name, ...given } = typeof entry === 'string' ? { name: entry } : entry
  const method = registry.get('method', name)
  const check = (options: Record<string, unknown>) =>
    source.check<Record<string, unknown>>(method.configSchema, options, keys)
  const { options, chosen } = startingOptions(method, given, check)
  return { method, methodOptions: options, chosen }
}

/** The method and its options: the config's, or those of the adapter that training goes on from. */
async function methodOf(
  source: ConfigSource,
  raw: RawConfig,
  registry: Registry,
  path: string,
  hub: PullOptions,
): Promise<Pick<TrainConfig, 'adapter' | 'method' | 'methodOptions' | 'chosen'>> {
  if ((raw.adapter === null) === (raw.method === undefined))
    throw new GraftError(
      'BAD_CONFIG',
      `${source.position([raw.adapter === null ? 'method' : 'adapter'])} ${raw.adapter === null ? 'key method is missing: name one, as in method: { name: lora, r: 8 }, or an adapter to go on from (adapter: FOLDER)' : 'an adapter brings its own method and options: leave method out, or adapter'}.`,
    )
  if (raw.adapter === null) return { adapter: null, ...methodAt(source, registry, raw.method, ['method']) }
  const near = resolve(dirname(path), expandHome(raw.adapter))
  const folder = existsSync(near) ? near : await resolveModel(expandHome(raw.adapter), hub)
  const { from, method, options, labels, objective } = continueFrom(folder, registry)
  raw.data.labels ??= labels
  raw.objective ??= objective
  return { adapter: from, method, methodOptions: options, chosen: {} }
}

/** A path that is a folder or can become one. Throws BAD_OUTPUT. */
function outputFolder(path: string): string {
  let there = path
  while (!existsSync(there)) there = dirname(there)
  if (statSync(there).isDirectory()) return path
  throw new GraftError(
    'BAD_OUTPUT',
    `output: ${path} should be a folder, and ${there === path ? 'it' : there} is a file. Choose another output.`,
  )
}

/** The same with absolute paths, which a config gives relative to its own file, and with a model that is here. */
export async function located<C extends Pick<RawConfig, 'model' | 'output' | 'data'>>(
  raw: C,
  path: string,
  hub: PullOptions = {},
): Promise<C> {
  const near = (p: string) => resolve(dirname(path), expandHome(p))
  const { data } = raw
  return {
    ...raw,
    model: existsSync(near(raw.model)) ? near(raw.model) : await resolveModel(expandHome(raw.model), hub),
    output: outputFolder(near(raw.output)),
    data: {
      ...data,
      train: near(data.train),
      validation: typeof data.validation === 'string' ? near(data.validation) : data.validation,
      test: data.test && near(data.test),
    },
  }
}
