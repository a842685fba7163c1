import { byPattern, pattern, positive, real, type TargetOptions } from '@graft-peft/core'

export interface LycorisOptions extends TargetOptions {
  r: number
  alpha: number
  rank_pattern: Record<string, number>
  alpha_pattern: Record<string, number>
}
/** Options that HF PEFT's LoHaConfig and LoKrConfig have in common. Rank and module dropout other than 0 are refused. */
export const lycorisOptions = {
  r: positive(8),
  alpha: real(8),
  rank_pattern: { ...pattern, additionalProperties: { type: 'integer', minimum: 1 } },
  alpha_pattern: pattern,
  rank_dropout: { const: 0, default: 0 },
  module_dropout: { const: 0, default: 0 },
  use_effective_conv2d: { const: false, default: false },
}
/** Those of them that only training reads. */
export const trainingOptions = [
  'rank_dropout',
  'rank_dropout_scale',
  'module_dropout',
  'use_effective_conv2d',
  'init_weights',
]

export function rankAndScale(
  path: string,
  { r, alpha, rank_pattern, alpha_pattern }: LycorisOptions,
): { r: number; scale: number } {
  const rank = byPattern(path, rank_pattern, r)
  return { r: rank, scale: byPattern(path, alpha_pattern, alpha) / rank }
}
