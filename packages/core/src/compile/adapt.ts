import type { Value } from '@graft/onnx'
import { GraftError } from '../errors.js'
import type { Adapter, PeftMethod } from '../method/method.js'
import { trainModules, trainNamedModules } from '../method/train-fully.js'
import { Variables } from '../method/variables.js'
import type { Model } from '../model/model.js'
import type { BuiltObjective, Objective } from '../objective/objective.js'
import { Dropout } from './dropout.js'

export interface AdaptOptions {
  method: PeftMethod
  /** validated options of the method */
  config: Record<string, unknown>
  objective: Objective
  labels: number
  /** about how many rows a batch supervises */
  rows: number
  totalSteps: number
  training: boolean
}
/** A model with a method attached and an objective on top, ready to be compiled. */
export interface Adapted {
  model: Model
  variables: Variables
  objective: BuiltObjective
  adapter: Adapter
  dropoutSeed?: Value
}

/** Attaches a method and an objective to a fork of the model; the base is left as it was. */
export function adapt(base: Model, options: AdaptOptions): Adapted {
  requireDynamicShapes(base)
  const model = base.fork()
  const { g } = model
  const variables = new Variables(g)
  let dropout: Dropout | undefined
  const attach = {
    model,
    g,
    param: variables.param,
    totalSteps: options.totalSteps,
    dropout: (x: Value, p: number, name: string) => {
      if (!options.training || p === 0) return x
      dropout ??= new Dropout(g)
      return dropout.apply(x, p, name)
    },
  }
  const adapter = attachMethod(options, attach)
  const objective = options.objective.build({ model, g, param: variables.param, labels: options.labels, rows: options.rows })
  variables.close()
  return { model, variables, objective, adapter, dropoutSeed: dropout?.seed }
}

function attachMethod({ method, config, objective }: AdaptOptions, context: Parameters<PeftMethod['attach']>[0]): Adapter {
  const adapter = method.attach(context, config)
  const saved = config.modules_to_save as readonly string[] | null | undefined
  const optional = (name: string) => objective.savedModules.includes(name)
  if (saved)
    trainNamedModules(
      context.model,
      context.param,
      saved.filter((n) => !optional(n)),
    )
  trainModules(context.model, context.param, (saved ?? objective.savedModules).filter(optional))
  return adapter
}

/** Training feeds batches of changing size; a graph traced with fixed sizes can't take them. */
function requireDynamicShapes(model: Model): void {
  for (const { name, shape } of model.graph.inputs) {
    const free = name === 'pixel_values' ? 1 : 2
    const fixed = shape?.slice(0, free).filter((d) => typeof d === 'number') ?? []
    if (fixed.length > 0)
      throw new GraftError(
        'STATIC_SHAPES',
        `${model.file}: input ${name} has the fixed shape [${shape?.join(', ')}], so it takes only that batch. Export again with dynamic batch${free > 1 ? ' and sequence' : ''} (dynamic_shapes, or dynamic_axes with the older exporter).`,
      )
  }
}
