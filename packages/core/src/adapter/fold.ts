import { Builder, elements, type Value } from '@graft-peft/onnx'
import type { Adapted } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import { GraftError } from '../errors.js'
import { biasOf } from '../method/train-fully.js'
import type { Model } from '../model/model.js'
import type { Site, WeightSlot } from '../model/site.js'
import { float32, type Tensors } from '../runtime/tensor.js'
import { runOnce } from '../runtime/session.js'

export interface Folded {
  /** changed parameters by slot, as the base stores them */
  weights: Map<string, Float32Array>
  /** what the adapted model makes of the feeds */
  logits: Float32Array
}
/** Bytes of changed parameters computed at a time. */
const atOnce = 2 ** 28

/** Computes what an adapter makes of the base's parameters. Throws NOT_MERGEABLE, NOT_FINITE. `adapted` is used up. */
export async function fold(
  adapted: Adapted,
  where: string,
  logitsOf: (adapted: Adapted) => Value,
  parameters: Float32Array,
  feeds: Tensors,
): Promise<Folded> {
  const slots = changedSlots(adapted, where)
  const logits = logitsOf(adapted)
  const weights = new Map<string, Float32Array>()
  for (const group of groups(slots))
    for (const [key, values] of await compute(adapted, group, parameters))
      weights.set(key, finite(key, values))
  const outputs = await runOnce(finish(adapted.model.g, { logits }), {
    ...feeds,
    parameters: float32(parameters),
  })
  return { weights, logits: outputs.logits.data as Float32Array }
}

async function compute(
  { model }: Adapted,
  slots: ReadonlyMap<string, Value>,
  parameters: Float32Array,
): Promise<Map<string, Float32Array>> {
  const { graph, copyOf } = model.graph.clone()
  const keys = [...slots.keys()]
  const outputs = await runOnce(
    finish(
      new Builder(graph),
      Object.fromEntries(keys.map((key, i) => [`weight_${i}`, copyOf(slots.get(key) as Value)])),
    ),
    {
      parameters: float32(parameters),
    },
  )
  return new Map(keys.map((key, i) => [key, outputs[`weight_${i}`].data as Float32Array]))
}
function finite(key: string, values: Float32Array): Float32Array {
  if (values.every(Number.isFinite)) return values
  throw new GraftError(
    'NOT_FINITE',
    `The merged weight ${key} holds numbers that are not finite; the adapter is damaged, or its training diverged. Nothing was written.`,
  )
}

function groups(slots: ReadonlyMap<string, Value>): Map<string, Value>[] {
  const result: Map<string, Value>[] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const [key, value] of slots) {
    const size = 4 * elements(value.shape as readonly number[])
    if (bytes + size > atOnce) {
      result.push(new Map())
      bytes = 0
    }
    result.at(-1)?.set(key, value)
    bytes += size
  }
  return result
}

/** A fork of the base with parameters replaced. */
export function withWeights(base: Model, weights: ReadonlyMap<string, Float32Array>): Model {
  const merged = base.fork()
  for (const { slot } of parametersIn(merged)) {
    const values = weights.get(slot.key)
    if (values) slot.set(values)
  }
  return merged
}

export interface NamedSlot {
  site: Site
  /** the parameter's path in the model */
  name: string
  slot: WeightSlot
}
/** Every parameter that a module uses, with its path. */
export const parametersIn = (model: Model): NamedSlot[] =>
  model.sites.flatMap((site) => {
    const bias = biasOf(site)
    return [
      { site, name: `${site.path}.weight`, slot: site.weight },
      ...(bias ? [{ site, name: `${site.path}.bias`, slot: bias }] : []),
    ]
  })

/** Every parameter that adaptation changed, as stored in the file: what the method merges, and what is trained in full. */
function changedSlots({ model, adapter }: Adapted, where: string): Map<string, Value> {
  if (!adapter.merge)
    throw new GraftError(
      'NOT_MERGEABLE',
      `${where}: its method has no form in the weights (tokens or activations are inputs, not weights), so it can't be merged. Use the adapter beside its base.`,
    )
  const merged = adapter.merge().map(([slot, form]) => [slot.key, slot.asStored(form(slot.value))] as const)
  const trained = parametersIn(model).flatMap(({ slot }) =>
    slot.frozen ? [] : [[slot.key, slot.stored] as const],
  )
  return new Map([...trained, ...merged])
}
