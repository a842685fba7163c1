import { guarded } from '../blame.js'
import type { Registry } from '../container.js'
import type { Launcher } from '../launch/launcher.js'
import { checkOptimizer } from '../optimizer/checked.js'
import type { Optimizer, OptimizerKind, OptimizerNumbers } from '../optimizer/optimizer.js'
import type { ChosenSchedule, Schedule } from '../optimizer/schedule.js'
import type { Tracker } from '../tracking/tracker.js'
import type { ConfigSource } from './source.js'

/** A plugin by its name, or with its options beside the name. */
export type PluginEntry = string | ({ name: string } & Record<string, unknown>)

const text = { type: 'string', minLength: 1 } as const
/** A name, or an object with a name and options that the plugin itself checks. */
export const pluginEntry = {
  anyOf: [text, { type: 'object', properties: { name: text }, required: ['name'] }],
}

/** Kinds of plugin whose options a config gives beside the name. */
interface Configured {
  tracker: Tracker
  launcher: Launcher
  optimizer: OptimizerKind
  schedule: Schedule
}
/** The optimiser that a config names. Throws BAD_OPTIMIZER for one that isn't what an optimiser must be. */
export function optimizerOf(
  source: ConfigSource,
  registry: Registry,
  training: OptimizerNumbers & { optimizer: PluginEntry },
): Optimizer {
  const keys = ['training', 'optimizer']
  const { plugin, options } = pluginAt(source, registry, 'optimizer', training.optimizer, keys)
  return checkOptimizer(
    plugin.name,
    guarded(plugin, () => plugin.create(training, options)),
  )
}
/** The schedule that a config names, with its options. */
export function scheduleOf(
  source: ConfigSource,
  registry: Registry,
  training: { schedule: PluginEntry },
): ChosenSchedule {
  const keys = ['training', 'schedule']
  const { plugin, options } = pluginAt(source, registry, 'schedule', training.schedule, keys)
  return { schedule: plugin, options }
}

/** A plugin that a config names at `keys`, its options checked and completed. Throws UNKNOWN_PLUGIN, BAD_CONFIG. */
export function pluginAt<K extends keyof Configured>(
  source: ConfigSource,
  registry: Registry,
  kind: K,
  entry: PluginEntry,
  keys: readonly string[],
): { plugin: Configured[K]; options: Record<string, unknown> } {
  const { name, ...given } = typeof entry === 'string' ? { name: entry } : entry
  const plugin: Configured[K] = registry.get(kind, name)
  return { plugin, options: source.check(plugin.configSchema, given, keys) }
}
