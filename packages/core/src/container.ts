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
    if (kind === 'method' && (plugin as PeftMethod).apiVersion !== 1)
      throw new GraftError('API_VERSION', `Method ${plugin.name} from ${origin} has apiVersion ${(plugin as PeftMethod).apiVersion}; this Graft knows 1.`)
    this.origins.set(key, origin)
    this.container.register(tokens[kind], { useValue: plugin })
    return this
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
