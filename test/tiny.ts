import { join } from 'node:path'
import { type Example, float32, type PeftMethod, type Tensors, type Model } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import {
  adapt,
  type Adapted,
  type AdaptOptions,
  type Attaching,
  batchOf,
  methodOptions,
  modelFeeds,
  scalar,
} from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { root } from './fixture.js'

export const registry = defaultRegistry()
export const causalLm = registry.get('objective', 'causal-lm')

/** A tiny random language model of an architecture. */
export const openTiny = (architecture: string): Model =>
  openModel(join(root, 'test/golden/architectures', architecture, 'model'), {
    architectures: registry.all('architecture'),
    task: 'causal-lm',
  })

/** Two short texts, every token of which is supervised. */
export const texts: Example[] = [
  [3, 5, 7, 9, 11, 13, 15, 17],
  [4, 6, 8, 10, 12, 14],
].map((ids) => ({ ids, tokenLabels: ids }))

/** A method by its name on a model, for language modelling unless `more` says otherwise. */
export function attach(
  model: Model,
  name: string,
  options: Record<string, unknown>,
  more: Partial<AdaptOptions> = {},
): Adapted {
  return adapt(model, { ...attachingOf(name, options), training: true, ...more })
}
/** What attaching it takes. */
export function attachingOf(name: string, options: Record<string, unknown>): Attaching {
  const method = registry.get('method', name) as PeftMethod
  return {
    method,
    methodOptions: methodOptions(method, options),
    objective: causalLm,
    labels: 0,
    expectedRows: 16,
    totalSteps: 5,
  }
}

/** What a graph of the adapted model is fed for the texts, parameters off their start. */
export function feedsOf(model: Model, { variables, virtualTokens, state }: Adapted): Tensors {
  const batch = batchOf(texts, virtualTokens)
  const { feeds, count } = causalLm.supervise(batch, 1)
  return {
    ...modelFeeds(model.graph.inputs, batch, 0),
    ...feeds,
    inverse_count: scalar(1 / count),
    penalty_share: scalar(1),
    dropout_seed: { dtype: 'int32', shape: [], data: Int32Array.of(7) },
    parameters: float32(variables.initial(3).map((v, i) => v + 0.01 * Math.sin(i))),
    ...(state ? { method_state: float32(state.initial(0)) } : {}),
  }
}
