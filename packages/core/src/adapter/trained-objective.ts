import type { Task } from '../architecture/architecture.js'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'
import type { Objective } from '../objective/objective.js'
import type { AdapterConfig } from './files.js'
import type { Manifest } from './manifest.js'

/** What an adapter was trained for. */
export interface TrainedObjective {
  objective: Objective
  /** its own objective's name, where no package brings that and another stands in */
  missing?: string
}

/**
 * The objective of an adapter: that of its manifest; where no package brings it, the first of the same task_type that classifies as it
 * does, for what an adapter says and writes doesn't depend on how it learnt it. Without a manifest by task_type, and without that by what
 * the base model is for. Throws UNKNOWN_PLUGIN, UNSUPPORTED_ADAPTER.
 */
export function trainedObjective(
  folder: string,
  config: AdapterConfig,
  manifest: Manifest | undefined,
  registry: Registry,
  baseTask?: Task,
): TrainedObjective {
  if (!manifest) return { objective: objectiveFor(folder, config, registry, baseTask) }
  const all = registry.all('objective')
  const own = all.find((o) => o.name === manifest.objective)
  if (own) return { objective: own }
  const { task_type = null } = config
  const kin = all.find((o) => o.taskType === task_type && o.classifies === manifest.labels.length > 0)
  if (!kin) return { objective: registry.get('objective', manifest.objective) }
  return { objective: kin, missing: manifest.objective }
}

/** What to say of an objective that stands in for another. */
export const standsIn = ({ objective, missing }: TrainedObjective): string =>
  `The adapter was trained with the objective ${missing}, which no package here brings; it is used as ${objective.name}, by its task_type. --plugins names the package; only training on needs it.`

/** Throws UNKNOWN_PLUGIN where the objective that is missing has tensors of its own in the file, which no other could place. */
export function refuseOwnTensors(
  folder: string,
  { missing }: TrainedObjective,
  keys: Iterable<string>,
  declared: ReadonlySet<string>,
): void {
  const own = [...keys].find((key) => !declared.has(key))
  if (missing === undefined || own === undefined) return
  throw new GraftError(
    'UNKNOWN_PLUGIN',
    `${folder}: it was trained with the objective ${missing}, which no package here brings and which has tensors of its own in the file (${own}). Name its package with --plugins.`,
  )
}

/** The objective of an adapter by its task_type; one without is for what its base model is for. */
export function objectiveFor(
  folder: string,
  { task_type = null }: AdapterConfig,
  registry: Registry,
  baseTask?: Task,
): Objective {
  const all = registry.all('objective')
  const objective =
    (task_type === null && baseTask && all.find((o) => o.task === baseTask)) ||
    all.find((o) => o.taskType === task_type)
  if (objective) return objective
  throw new GraftError('UNSUPPORTED_ADAPTER', `${folder}: no installed objective has task_type ${task_type}.`)
}
