import { GraftError, suggestion } from '../errors.js'
import type { Model } from '../model/model.js'
import { belongsTo } from '../model/paths.js'
import type { Site, WeightSlot } from '../model/site.js'
import type { AttachContext } from './method.js'
import { copyOf } from './variables.js'

type Param = AttachContext['param']

/**
 * Trains one parameter in full, from the value it has. Returns its name.
 *
 * @throws what copyOf throws.
 */
export function trainParameter(param: Param, slot: WeightSlot, name: string): string {
  const init = copyOf(slot)
  const { shape } = slot
  slot.map(() => param(name, { shape, init }))
  return name
}

/** Trains modules in full (HF PEFT's modules_to_save): their weights and biases become variables. Returns the paths it found. */
export function trainModules(model: Model, param: Param, names: readonly string[]): string[] {
  const chosen = model.sites.filter((s) => names.some((name) => belongsTo(s.path, name)))
  for (const site of chosen) {
    trainParameter(param, site.weight, `${site.path}.weight`)
    const bias = biasOf(site)
    if (bias) trainParameter(param, bias, `${site.path}.bias`)
  }
  return chosen.map((s) => s.path)
}
/** HF PEFT's option `bias`, which many methods have. */
export interface BiasOption {
  /** none, all of the model's, or (named after the method) those of the adapted layers */
  bias: string
}
/** Trains biases as the option says. HF PEFT moves an adapted layer's own under base_layer. */
export function trainBiases(
  { model, param }: Pick<AttachContext, 'model' | 'param'>,
  sites: readonly Site[],
  bias: string,
): void {
  if (bias === 'none') return
  const adapted = new Set(sites.map((s) => s.path))
  for (const site of bias === 'all' ? model.sites : sites) {
    const slot = biasOf(site)
    if (slot) trainParameter(param, slot, `${site.path}${adapted.has(site.path) ? '.base_layer' : ''}.bias`)
  }
}
/** A module's bias; undefined for embeddings and modules without one. */
export const biasOf = (site: Site): WeightSlot | undefined =>
  site.kind === 'embedding' ? undefined : site.bias

/** Like trainModules, but a name that matches nothing is an error: MODULE_NOT_FOUND with near misses. */
export function trainNamedModules(model: Model, param: Param, names: readonly string[]): void {
  for (const name of names)
    if (trainModules(model, param, [name]).length === 0) {
      const known = [...new Set(model.sites.map((s) => s.path.split('.').at(-1) as string))]
      throw new GraftError(
        'MODULE_NOT_FOUND',
        `modules_to_save: ${name} matches no module of ${model.file}. ${suggestion(name, known)}`,
      )
    }
}
