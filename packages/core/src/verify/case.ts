import { join } from 'node:path'
import { readTensors } from '../adapter/files.js'
import { methodFor } from '../adapter/open.js'
import { objectiveFor } from '../adapter/trained-objective.js'
import { supportedOptions } from '../adapter/options.js'
import type { Registry } from '../container.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { type StoredTensor } from '../files/safetensors.js'
import type { PeftMethod } from '../method/method.js'
import { type Model } from '../model/model.js'
import type { Objective, Supervision } from '../objective/objective.js'
import { scalar, type Tensors } from '../runtime/tensor.js'
import { caseConfig, caseInputs, type Golden } from './golden.js'

export interface Setup {
  method: PeftMethod
  methodOptions: Record<string, unknown>
  objective: Objective
  supervision: Supervision
  labels: number
  /** tensors that training doesn't change, from the adapter before it */
  stored: ReadonlyMap<string, StoredTensor>
  feeds: Tensors
}

/** What a case trains, from its adapter at the start. */
export function prepare(golden: Golden, model: Model, name: string, registry: Registry): Setup {
  const stored = caseConfig(golden, name)
  const folder = join(golden.folder, name)
  const method = methodFor(folder, stored, registry)
  const objective = objectiveFor(folder, stored, registry)
  const methodOptions = { ...supportedOptions(method, stored), modules_to_save: stored.modules_to_save ?? [] }
  const labels = Number(model.logitsShape.at(-1))
  const batch = batchOf(golden.examples, method.virtualTokens?.(methodOptions), golden.pad)
  const supervision = objective.supervise(batch, 1)
  const feeds = {
    ...modelFeeds(model.graph.inputs, batch, golden.pad),
    ...golden.pixels,
    ...caseInputs(golden, name),
    ...supervision.feeds,
    inverse_count: scalar(1 / supervision.count),
    penalty_share: scalar(1),
  }
  return {
    method,
    methodOptions,
    objective,
    supervision,
    labels,
    stored: readTensors(join(folder, 'start')),
    feeds,
  }
}
