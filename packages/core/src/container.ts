import 'reflect-metadata'
import { type DependencyContainer, container as root } from 'tsyringe'
import { GraftError, suggestion } from './errors.js'
import type { PeftMethod } from './method/method.js'
import { causalLm } from './objective/causal-lm.js'
import { imageClassification, sequenceClassification } from './objective/classification.js'
import type { Objective } from './objective/objective.js'

/** The kinds of plugin, each a token of the container. */
const tokens = { method: Symbol('method'), objective: Symbol('objective') }
interface Kinds {
  method: PeftMethod
  objective: Objective
}
export type Kind = keyof Kinds
export type Plugin = Kinds[Kind]

const describe = (value: unknown): string =>
  value === undefined
    ? 'nothing'
    : typeof value === 'object' && value !== null
      ? `an object with the keys ${Object.keys(value).slice(0, 6).join(', ') || '(none)'}`
      : `a ${typeof value}`
const badPlugin = (origin: string, got: string) =>
  new GraftError('BAD_PLUGIN', `${origin} is not a plugin: its default export is ${got}; expected the result of definePeftMethod or defineObjective, or a list of them.`)

/** What is installed: methods and objectives by name. The only user of tsyringe. */
export class Registry {
  private readonly container: DependencyContainer = root.createChildContainer()
  private readonly origins = new Map<string, string>()

  constructor() {
    for (const objective of [causalLm, sequenceClassification, imageClassification]) this.register('objective', objective, '@graft/core')
  }

  /** Throws DUPLICATE_PLUGIN naming both packages, or API_VERSION for a method written for another interface. */
  register<K extends Kind>(kind: K, plugin: Kinds[K], origin: string): this {
    const key = `${kind}/${plugin.name}`
    const taken = this.origins.get(key)
    if (taken) throw new GraftError('DUPLICATE_PLUGIN', `Two ${kind}s are named ${plugin.name}: one from ${taken}, one from ${origin}. Leave one of them out of plugins.`)
    if (plugin.apiVersion !== 1) throw new GraftError('API_VERSION', `The ${kind} ${plugin.name} from ${origin} has apiVersion ${plugin.apiVersion}; this Graft knows 1.`)
    this.origins.set(key, origin)
    this.container.register(tokens[kind], { useValue: plugin })
    return this
  }

  /** Registers what a package exports as its default: one plugin or several. Throws BAD_PLUGIN for anything else. */
  registerPackage(exported: unknown, origin: string): this {
    const plugins = [exported].flat()
    if (plugins.length === 0) throw badPlugin(origin, 'an empty list')
    for (const plugin of plugins) {
      const { kind, name } = (plugin ?? {}) as Partial<Plugin>
      if (!kind || !(kind in tokens) || typeof name !== 'string') throw badPlugin(origin, describe(plugin))
      this.register(kind, plugin as Kinds[Kind], origin)
    }
    return this
  }
  /** The package a plugin came from. */
  originOf(kind: Kind, name: string): string {
    return this.origins.get(`${kind}/${name}`) ?? ''
  }

  all<K extends Kind>(kind: K): Kinds[K][] {
    return this.container.isRegistered(tokens[kind]) ? this.container.resolveAll<Kinds[K]>(tokens[kind]) : []
  }

  /** Throws UNKNOWN_PLUGIN with the near misses and the list. */
  get<K extends Kind>(kind: K, name: string): Kinds[K] {
    const found = this.all(kind).find((p) => p.name === name)
    if (!found)
      throw new GraftError(
        'UNKNOWN_PLUGIN',
        `${kind}: ${name} is not installed. ${suggestion(
          name,
          this.all(kind).map((p) => p.name),
        )}`,
      )
    return found
  }

  methodOfType(peftType: string): PeftMethod | undefined {
    return this.all('method').find((m) => m.peftType === peftType)
  }
}
