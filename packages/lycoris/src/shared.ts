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
  alpha: { ...real(8), exclusiveMinimum: 0 },
  rank_pattern: pattern,
  alpha_pattern: pattern,
  rank_dropout: { const: 0, default: 0 },
  module_dropout: { const: 0, default: 0 },
  use_effective_conv2d: { const: false, default: false },
}
export function rankAndScale(
  path: string,
  { r, alpha, rank_pattern, alpha_pattern }: LycorisOptions,
): { r: number; scale: number } {
  const rank = byPattern(path, rank_pattern, r)
  return { r: rank, scale: byPattern(path, alpha_pattern, alpha) / rank }
}
