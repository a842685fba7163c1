import {
  byPattern,
  pattern,
  positive,
  real,
  type TargetOptions,
  share,
  only,
  type AttachContext,
  type LinearSite,
  type Value,
} from '@graft-peft/core'

export interface LycorisOptions extends TargetOptions {
  r: number
  alpha: number
  rank_pattern: Record<string, number>
  alpha_pattern: Record<string, number>
  rank_dropout: number
  module_dropout: number
}
/** Options that HF PEFT's LoHaConfig and LoKrConfig have in common. */
export const lycorisOptions = {
  r: positive(8),
  alpha: real(8),
  rank_pattern: { ...pattern, additionalProperties: { type: 'integer', minimum: 1 } },
  alpha_pattern: pattern,
  rank_dropout: share(0),
  module_dropout: share(0),
  use_effective_conv2d: only(false, 'linear layers alone are adapted, which have no kernels'),
}
/** Those of them that only training reads. */
export const trainingOptions = [
  'rank_dropout',
  'rank_dropout_scale',
  'module_dropout',
  'use_effective_conv2d',
  'init_weights',
]

/**
 * ΔW with a share of its rows zeroed, and all of it for a share of the steps, while training (HF PEFT's rank_dropout and module_dropout); what
 * is left of the rows may be scaled so that they weigh as much as all.
 */
export function withDropout(
  { g, dropout }: AttachContext,
  { path, outFeatures }: LinearSite,
  delta: Value,
  { rank_dropout, module_dropout }: LycorisOptions,
  scaled: boolean,
): Value {
  const kept = (count: number, p: number, name: string): Value | undefined => {
    const all = g.constant('float32', new Array<number>(count).fill(1), [count, 1])
    const left = dropout(all, p, `${path}.${name}`)
    return left === all ? undefined : g.cast(g.greater(left, g.scalar(0)), 'float32')
  }
  const rows = kept(outFeatures, rank_dropout, 'rank_dropout')
  const there = kept(1, module_dropout, 'module_dropout')
  const share = rows && scaled ? g.op('Max', [g.reduceMean(rows, [0]), g.scalar(1 / outFeatures)]) : undefined
  const some = rows ? g.mul(delta, share ? g.div(rows, share) : rows) : delta
  return there ? g.mul(some, there) : some
}

export function rankAndScale(
  path: string,
  { r, alpha, rank_pattern, alpha_pattern }: LycorisOptions,
): { r: number; scale: number } {
  const rank = byPattern(path, rank_pattern, r)
  return { r: rank, scale: byPattern(path, alpha_pattern, alpha) / rank }
}
