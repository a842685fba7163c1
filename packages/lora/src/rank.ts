import { byPattern } from '@graft-peft/core'
import type { LoraOptions } from './options.js'

export interface Rank {
  r: number
  scale: number
}

/** A module's rank and what its update is scaled by: α/r, or α/√r (rsLoRA, Kalajdzievski, 2023, arXiv 2312.03732). */
export function rankAndScale(
  path: string,
  { r, lora_alpha, rank_pattern, alpha_pattern, use_rslora }: LoraOptions,
): Rank {
  const rank = byPattern(path, rank_pattern, r)
  const alpha = byPattern(path, alpha_pattern, lora_alpha)
  return { r: rank, scale: alpha / (use_rslora ? Math.sqrt(rank) : rank) }
}
