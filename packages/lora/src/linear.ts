import {
  type AttachContext,
  type LinearSite,
  type MergedWeight,
  moduleKey,
  type Value,
  zeros,
} from '@graft-peft/core'
import { blockDiagonal, blockedFactor, blockShape, blockStart } from './blocks.js'
import { attachDora } from './dora.js'
import type { Explained } from './eva.js'
import { corrected } from './frozen-a.js'
import { kasa, kasaPenalty } from './kasa.js'
import { mergedBias } from './layers.js'
import type { LoraOptions } from './options.js'
import type { Rank } from './rank.js'
import { type Start, start } from './start.js'

export interface Adapted {
  /** whether the starting product was taken off the base weight */
  frozen: boolean
  /** a term of the loss */
  penalty?: Value
  merged(): MergedWeight[]
  saved(): [string, Value][]
}

/** y + s·B·A·x, in whichever of its variants. */
export function adaptLinear(
  context: AttachContext,
  site: LinearSite,
  { r: given, scale }: Rank,
  options: LoraOptions,
  explained?: Explained,
): Adapted {
  const { g, param, dropout } = context
  const { path, outFeatures } = site
  const r = explained?.rank ?? given
  const begun: Start = explained
    ? { A: () => explained.A, B: zeros, subtracted: false }
    : start(options.init_lora_weights, site.weight, r, scale)
  const { A, B } = factors(context, site, { r, begun }, options)
  const bias = options.lora_bias
    ? param(`${path}.lora_B.bias`, { shape: [outFeatures], init: zeros })
    : undefined
  const singular = options.kasa_config ? kasa(context, site, r) : undefined
  const valued = singular ? g.mul(B, singular.values) : B
  const [down, up] = begun.subtracted ? withStart(context, site, { A, B }, r, begun) : [A, valued]
  const trained = options.lora_fa && !context.inference ? corrected(context, A, B, scale) : up
  const apply = (x: Value) => {
    const product = g.linear(g.linear(dropout(x, options.lora_dropout, path), down), trained)
    return g.scale(bias ? g.add(product, bias) : product, scale)
  }
  const saved = (): [string, Value][] => [
    [moduleKey(`${path}.lora_A.weight`), down],
    [moduleKey(`${path}.lora_B.weight`), up],
  ]
  if (options.use_dora) {
    const form = attachDora(context, { site, A, B, scale, apply }, options.lora_dropout)
    return { frozen: false, merged: () => [[site.weight, form]], saved }
  }
  site.output.map((y, x) => g.add(singular ? g.sub(y, singular.lost(x)) : y, apply(x)))
  const kept = (w: Value) => singular?.truncated(w) ?? w
  const weight: MergedWeight = [site.weight, (w) => g.add(kept(w), g.scale(g.matMul(up, down), scale))]
  return {
    frozen: begun.subtracted,
    ...(singular && options.kasa_config
      ? { penalty: kasaPenalty(g, { A, B, values: singular.values }, options.kasa_config) }
      : {}),
    merged: () => [weight, ...(bias ? [mergedBias(site, g.scale(bias, scale), g)] : [])],
    saved,
  }
}

/** A [r, in] and B [out, r]. A file holds both either way; what is in use isn't trained, and then all of it is fed alike. */
function factors(
  { g, param, buffer, inference }: AttachContext,
  { path, inFeatures, outFeatures }: LinearSite,
  { r, begun }: { r: number; begun: Start },
  options: LoraOptions,
): { A: Value; B: Value } {
  const blocked = blockedFactor(path, options)
  const blocks = options.use_bdlora?.nblocks ?? 1
  const shapes = { A: [r, inFeatures], B: [outFeatures, r] }
  const frozen = { A: options.lora_fa, B: begun.frozen }
  const declare = (factor: 'A' | 'B', lrScale?: number) => {
    const name = `${path}.lora_${factor}.weight`
    const own = blocked === factor
    const shape = own ? blockShape(path, shapes[factor], blocks) : shapes[factor]
    const init = own ? (factor === 'A' ? blockStart : zeros) : begun[factor]
    const value =
      frozen[factor] && !inference
        ? buffer(name, { shape, init, stored: 'F32' })
        : param(name, { shape, init, lrScale })
    return own ? blockDiagonal(g, value, blocks) : value
  }
  return { A: declare('A'), B: declare('B', options.loraplus_lr_ratio) }
}

/** W − s·B₀·A₀ + s·B·A as one update of twice the rank: the base weight is never touched. */
function withStart(
  { g, buffer }: AttachContext,
  { path, inFeatures, outFeatures }: LinearSite,
  { A, B }: { A: Value; B: Value },
  r: number,
  begun: Start,
): [down: Value, up: Value] {
  const first = (name: 'A' | 'B', shape: number[]) =>
    buffer(`${path}.start_${name}`, { shape, init: begun[name], stored: false })
  return [
    g.concat([A, first('A', [r, inFeatures])], 0),
    g.concat([B, g.neg(first('B', [outFeatures, r]))], 1),
  ]
}
