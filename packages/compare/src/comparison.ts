import { createHash } from 'node:crypto'
import { readdirSync, type Stats, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { GraftError, type Launcher, type PeftMethod } from '@graft-peft/core'
import { loadPlugins, type Precision, type PullOptions, type Registry } from '@graft-peft/core/app'
import {
  ConfigSource,
  diskError,
  fileDigest,
  findPlugin,
  located,
  methodAt,
  modelDigest,
  pluginAt,
  type PluginEntry,
  type RawConfig,
  startingRate,
} from '@graft-peft/core/inside'
import { untouched } from './untouched.js'
import { comparisonSchema } from './schema.js'

/** One row to be: a method with its options, under a label of its own. */
export interface Entry {
  label: string
  method: string
  /** the method's options as they were given */
  options: Record<string, unknown>
  /** learning rates to try */
  rates: readonly number[]
  /** what its products are computed in, where not as the config says for all */
  precision?: Precision
}
/** What every run of a comparison may take; the training config's own epochs where left out. */
export interface Budget {
  steps?: number
  /** tokens seen, padding not counted */
  tokens?: number
  /** minutes of training, evaluations not counted */
  minutes?: number
}
/** One run: an entry at one learning rate and seed. */
export interface RunSpec {
  id: string
  label: string
  seed: number
  learning_rate: number
  budget: Budget
  /** a text whose loss before and after tells what was forgotten */
  forgetting: { file: string; examples: number } | null
  /** how many test examples to show answers to */
  samples: number
  /** a training config, paths absolute */
  config: RawConfig
}
export interface Comparison {
  /** what was asked for */
  path: string
  /** the training config that all runs share */
  shared: Omit<RawConfig, 'method'>
  entries: readonly Entry[]
  seeds: readonly number[]
  runs: readonly RunSpec[]
  launcher: Launcher
  launcherOptions: Record<string, unknown>
}

interface Raw extends Omit<RawConfig, 'method'> {
  compare: {
    methods: readonly (
      | string
      | ({ name: string; label?: string; learning_rate?: number; precision?: Precision } & Record<
          string,
          unknown
        >)
    )[]
    seeds: number | readonly number[]
    learning_rates: 'preset' | readonly number[]
    budget: Budget | null
    exclude: readonly string[]
    forgetting: string | null
    forgetting_examples: number
    samples: number
    launcher: PluginEntry
  }
}

/**
 * Reads a comparison and checks all that can be checked before anything runs. Throws what loadConfig throws, DUPLICATE_ENTRY for two
 * rows of one label, NO_VALIDATION where nothing tells which is better, BAD_LAUNCHER options as BAD_CONFIG.
 */
export async function loadComparison(
  path: string,
  registry: Registry,
  overrides: readonly string[] = [],
  hub: PullOptions = {},
): Promise<Comparison> {
  const source = new ConfigSource(path)
  for (const override of overrides) source.override(override)
  const raw = source.check<Raw>(comparisonSchema, source.contents(), [])
  await loadPlugins(raw.plugins, dirname(path), registry)
  const { compare, ...training } = raw
  if (training.data.validation === 0)
    throw new GraftError(
      'NO_VALIDATION',
      `${source.position(['data', 'validation'])} data.validation: 0 leaves no data to compare on. Name a file, or the share of the training file to hold out.`,
    )
  const shared = {
    ...(await located(training, path, hub)),
    plugins: raw.plugins.map((name) => findPlugin(name, dirname(path)).file),
  }
  const entries = [
    ...compare.methods.map((_, i) => entryAt(source, registry, raw, i)),
    ...always(registry, raw),
  ]
  refuseTwins(source, entries)
  const seeds =
    typeof compare.seeds === 'number'
      ? Array.from({ length: compare.seeds }, (_, i) => raw.seed + i)
      : compare.seeds
  const { plugin: launcher, options: launcherOptions } = pluginAt(
    source,
    registry,
    'launcher',
    compare.launcher,
    ['compare', 'launcher'],
  )
  const forgetting =
    compare.forgetting === null
      ? null
      : { file: resolve(dirname(path), compare.forgetting), examples: compare.forgetting_examples }
  const common = { budget: compare.budget ?? {}, forgetting, samples: compare.samples }
  return {
    path,
    shared,
    entries,
    seeds,
    launcher,
    launcherOptions,
    runs: runsOf(shared, entries, seeds, common),
  }
}

/** The row that a config's entry asks for. */
function entryAt(source: ConfigSource, registry: Registry, { compare, training }: Raw, i: number): Entry {
  const given = compare.methods[i]
  const { label, learning_rate, precision, ...entry } = typeof given === 'string' ? { name: given } : given
  const keys = ['compare', 'methods', `${i}`]
  const { method } = methodAt(source, registry, entry as PluginEntry, keys)
  const { name, ...options } = entry
  const preset = method.learningRate ?? training.learning_rate ?? startingRate(method)
  const rates = learning_rate
    ? [learning_rate]
    : compare.learning_rates === 'preset'
      ? [preset]
      : compare.learning_rates
  return { label: label ?? name, method: name, options, rates, ...(precision ? { precision } : {}) }
}

/** The untouched base and full fine-tuning, which every method stands between. */
function always(registry: Registry, { compare }: Raw): Entry[] {
  const named = new Set(compare.methods.map((m) => (typeof m === 'string' ? m : m.name)))
  const wanted = ['base', 'full'].filter((name) => !compare.exclude.includes(name) && !named.has(name))
  return wanted.map((name) => {
    const method = name === 'base' ? untouched : registry.get('method', name)
    return { label: name, method: name, options: {}, rates: [startingRate(method as PeftMethod)] }
  })
}

function refuseTwins(source: ConfigSource, entries: readonly Entry[]): void {
  entries.forEach(({ label }, i) => {
    const twin = entries.findIndex((e) => e.label === label)
    if (twin === i) return
    throw new GraftError(
      'DUPLICATE_ENTRY',
      `${source.position(['compare', 'methods', `${i}`])} compare.methods.${i}: two entries are named ${label}. Give one of them a label of its own: { name: ${label}, label: ${label}-2, … }`,
    )
  })
}

/** All runs, in an order that has every method's first seed done early. */
function runsOf(
  shared: Comparison['shared'],
  entries: readonly Entry[],
  seeds: readonly number[],
  common: Pick<RunSpec, 'budget' | 'forgetting' | 'samples'>,
): RunSpec[] {
  // What files hold decides, not where they lie.
  const marked = <T>(file: T) => (typeof file === 'string' ? mark(file) : file)
  const data = {
    ...shared.data,
    train: mark(shared.data.train),
    validation: marked(shared.data.validation),
    test: marked(shared.data.test),
  }
  const held = {
    model: modelDigest(shared.model),
    data,
    forgetting: marked(common.forgetting?.file),
    ...budgetAnd(common),
  }
  return seeds.flatMap((seed) =>
    entries.flatMap(({ label, method, options, rates, precision = shared.precision }) =>
      rates.map((learning_rate) => {
        const { output, threads, trackers: _, ...decisive } = shared
        const config = {
          ...decisive,
          method: { name: method, ...options },
          training: { ...shared.training, learning_rate },
          precision,
          seed,
        }
        const digest = createHash('sha256')
          .update(JSON.stringify([{ ...config, ...held }]))
          .digest('hex')
          .slice(0, 8)
        const id = `${label.replace(/[^\w.-]+/g, '-')}-${learning_rate}-s${seed}-${digest}`
        return {
          id,
          label,
          seed,
          learning_rate,
          ...common,
          config: { ...shared, ...config, threads, output: join(output, 'runs', id, 'out') },
        }
      }),
    ),
  )
}

const budgetAnd = ({ budget, samples, forgetting }: Pick<RunSpec, 'budget' | 'forgetting' | 'samples'>) => ({
  budget,
  samples,
  general: forgetting?.examples,
})

/** Undefined where nothing is. Throws errors of the disk in words. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw diskError(cause, path)
  }
}

/** Tells a changed file from the same one. Throws DATA_NOT_FOUND. */
function mark(path: string): string {
  const stat = statOf(path)
  if (!stat) throw new GraftError('DATA_NOT_FOUND', `${path}: no such data file.`)
  if (!stat.isDirectory()) return fileDigest(path)
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()
  return files
    .filter((name) => !statSync(join(path, name)).isDirectory())
    .map((name) => `${name} ${fileDigest(join(path, name))}`)
    .join('\n')
}
