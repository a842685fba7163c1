import 'reflect-metadata'
import { type DependencyContainer, container as root } from 'tsyringe'
import type { Architecture } from './architecture/architecture.js'
import { here, otherCopy } from './copy.js'
import { GraftError, suggestion } from './errors.js'
import type { Launcher } from './launch/launcher.js'
import type { PeftMethod } from './method/method.js'
import { causalLm } from './objective/causal-lm.js'
import { imageClassification, sequenceClassification } from './objective/classification.js'
import { metrics } from './metric/builtin.js'
import type { Metric } from './metric/metric.js'
import type { Objective } from './objective/objective.js'
import { regression } from './objective/regression.js'
import { sentenceEmbedding } from './objective/sentence-embedding.js'
import { checkContract } from './contract.js'
import { sequenceToSequence } from './objective/sequence-to-sequence.js'
import { tokenClassification } from './objective/token-classification.js'
import { readers, type Reader } from './data/readers.js'
import type { OptimizerKind } from './optimizer/optimizer.js'
import { type Schedule, schedules } from './optimizer/schedule.js'
import { optimizers } from './optimizer/table.js'
import type { Tracker } from './tracking/tracker.js'

const objectives = [
  causalLm,
  sequenceClassification,
  imageClassification,
  regression,
  tokenClassification,
  sequenceToSequence,
  sentenceEmbedding,
]

/** The kinds of plugin, each a token of the container. */
const tokens = {
  method: Symbol('method'),
  objective: Symbol('objective'),
  metric: Symbol('metric'),
  architecture: Symbol('architecture'),
  tracker: Symbol('tracker'),
  launcher: Symbol('launcher'),
  optimizer: Symbol('optimizer'),
  schedule: Symbol('schedule'),
  reader: Symbol('reader'),
}
interface Kinds {
  method: PeftMethod
  objective: Objective
  metric: Metric
  architecture: Architecture
  tracker: Tracker
  launcher: Launcher
  optimizer: OptimizerKind
  schedule: Schedule
  reader: Reader
}
/** The kinds of plugin. */
export type Kind = keyof Kinds
/** A plugin of any kind; its `kind` says which. */
export type Plugin = Kinds[Kind]
/** Where a plugin came from. */
export interface Origin {
  package: string
  version: string
}
/** The version of the plugin interfaces. */
const apiVersion = 1

const describe = (value: unknown): string =>
  value === undefined
    ? 'nothing'
    : typeof value === 'object' && value !== null
      ? `an object with the keys ${Object.keys(value).slice(0, 6).join(', ') || '(none)'}`
      : `a ${typeof value}`
const badPlugin = (origin: string, got: string) =>
  new GraftError(
    'BAD_PLUGIN',
    `${origin} is not a plugin: its default export is ${got}; expected the result of definePeftMethod, defineObjective, defineMetric, defineArchitecture, defineOptimizer, defineSchedule, defineReader, defineTracker or defineLauncher, or a list of them.`,
  )

/** The kind of what a package exports. Throws BAD_PLUGIN for what is no plugin. */
function kindOf(plugin: unknown, { package: origin }: Origin): Kind {
  const { kind } = (plugin ?? {}) as Record<string, unknown>
  if (typeof kind !== 'string' || !Object.hasOwn(tokens, kind)) throw badPlugin(origin, describe(plugin))
  return kind as Kind
}
/** Reads what a package exports: a getter that throws is the package's fault too. Throws BAD_PLUGIN. */
function reading<T>({ package: origin }: Origin, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError(
      'BAD_PLUGIN',
      `${origin}: reading its default export threw: ${(cause as Error)?.message}.`,
      { cause },
    )
  }
}

/** What is installed: methods and objectives by name. The only user of tsyringe. */
export class Registry {
  private readonly container: DependencyContainer = root.createChildContainer()
  private readonly origins = new Map<string, Origin>()

  constructor() {
    const core = { package: '@graft-peft/core', version: '' }
    for (const objective of objectives) this.register('objective', objective, core)
    for (const metric of metrics) this.register('metric', metric, core)
    for (const optimizer of optimizers) this.register('optimizer', optimizer, core)
    for (const schedule of schedules) this.register('schedule', schedule, core)
    for (const reader of readers) this.register('reader', reader, core)
  }

  /**
   * Registers a plugin, once.
   *
   * @throws DUPLICATE_PLUGIN naming both packages, BAD_PLUGIN for one that its kind's contract refuses,
   * API_VERSION for one written for another interface, SECOND_CORE for one made with another copy of the
   * core.
   */
  register<K extends Kind>(kind: K, plugin: Kinds[K], origin: Origin): this {
    const key = `${kind}/${plugin.name}`
    const taken = this.origins.get(key)
    // The same plugin again, by another config or flag that names it.
    if (this.all(kind).includes(plugin)) return this
    if (taken)
      throw new GraftError(
        'DUPLICATE_PLUGIN',
        `Two ${kind}s are named ${plugin.name}: one from ${taken.package}, one from ${origin.package}. Leave one of them out of plugins.`,
      )
    if (plugin.apiVersion !== apiVersion)
      throw new GraftError(
        'API_VERSION',
        `The ${kind} ${plugin.name} from ${origin.package} has apiVersion ${plugin.apiVersion}; this Graft knows ${apiVersion}.`,
      )
    const other = otherCopy(plugin)
    if (other)
      throw new GraftError(
        'SECOND_CORE',
        `The ${kind} ${plugin.name} from ${origin.package} was made with the copy of @graft-peft/core at ${other}; the one that runs is at ${here}. They can't share a model. Install graft-peft and the plugin in one folder, with @graft-peft/core as the plugin's peer dependency alone; npm ls @graft-peft/core shows who brings it.`,
      )
    checkContract(plugin as unknown as Record<string, unknown>, origin.package)
    this.refuseForeignType(kind, plugin, origin)
    this.refuseForeignEnding(kind, plugin, origin)
    this.origins.set(key, origin)
    this.container.register(tokens[kind], { useValue: plugin })
    return this
  }

  /** Two methods of one peft_type would open each other's files. */
  private refuseForeignType(kind: Kind, plugin: Plugin, origin: Origin): void {
    const owner = kind === 'method' ? this.methodOfType((plugin as PeftMethod).peftType) : undefined
    if (owner)
      throw new GraftError(
        'DUPLICATE_PLUGIN',
        `${origin.package}: the method ${plugin.name} has peftType ${owner.peftType}, which is that of the method ${owner.name}: its adapters would be opened by that. Give it one of its own.`,
      )
  }

  /** Two readers of one ending would read each other's files. */
  private refuseForeignEnding(kind: Kind, plugin: Plugin, origin: Origin): void {
    if (kind !== 'reader') return
    const { endings, name } = plugin as Reader
    for (const ending of endings) {
      const owner = this.all('reader').find((r) => r.endings.includes(ending))
      if (!owner) continue
      throw new GraftError(
        'DUPLICATE_PLUGIN',
        `${origin.package}: the reader ${name} reads ${ending}, which the reader ${owner.name} does already. Give its files an ending of their own.`,
      )
    }
  }

  /**
   * Registers what a package exports as its default: one plugin or several.
   *
   * @throws BAD_PLUGIN for anything else.
   */
  registerPackage(exported: unknown, origin: Origin): this {
    const plugins = [exported].flat()
    if (plugins.length === 0) throw badPlugin(origin.package, 'an empty list')
    for (const plugin of plugins)
      reading(origin, () => this.register(kindOf(plugin, origin), plugin as Kinds[Kind], origin))
    return this
  }
  /** Everything installed, with the package it came from. */
  list(): (Origin & { kind: Kind; plugin: Plugin })[] {
    const kinds = Object.keys(tokens) as Kind[]
    return kinds.flatMap((kind) =>
      this.all(kind).map((plugin) => ({
        kind,
        plugin,
        ...(this.origins.get(`${kind}/${plugin.name}`) as Origin),
      })),
    )
  }

  all<K extends Kind>(kind: K): Kinds[K][] {
    return this.container.isRegistered(tokens[kind]) ? this.container.resolveAll<Kinds[K]>(tokens[kind]) : []
  }

  /** @throws UNKNOWN_PLUGIN with the near misses and the list. */
  get<K extends Kind>(kind: K, name: string): Kinds[K] {
    const found = this.all(kind).find((p) => p.name === name)
    const written = found || kind !== 'method' ? undefined : this.writtenAs(name)
    if (written) throw new GraftError('UNKNOWN_PLUGIN', `method: ${name} is written here as ${written}.`)
    if (!found)
      throw new GraftError(
        'UNKNOWN_PLUGIN',
        `${kind}: ${name} is not built in, and no plugin that the config names brings it. ${suggestion(
          name,
          this.all(kind).map((p) => p.name),
        )} For one of a package of its own, add to the config: plugins: [name-of-the-package]`,
      )
    return found
  }

  /** How a method's variant is written, by a name that others give it. */
  private writtenAs(name: string): string | undefined {
    const key = name.toLowerCase().replace(/[^a-z0-9]/g, '')
    return this.all('method')
      .map((m) => m.aliases?.[key])
      .find(Boolean)
  }

  methodOfType(peftType: string): PeftMethod | undefined {
    return this.all('method').find((m) => m.peftType === peftType)
  }
}
