/** Half of 95 % of Student's t distribution lies below these, for 1, 2, … degrees of freedom; beyond, the normal's is near enough. */
const tQuantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086,
]

export interface Interval {
  mean: number
  /** half the width of the 95 % interval of the mean over seeds; null for a single seed */
  half: number | null
  /** its ends, where a share can't go as far as that */
  low?: number
  high?: number
}
/** The interval of a share ends at 0 and 1. */
export function within(found: Interval | undefined, share: boolean): Interval | undefined {
  if (!found || found.half === null || !share) return found
  const [low, high] = [found.mean - found.half, found.mean + found.half]
  return low >= 0 && high <= 1 ? found : { ...found, low: Math.max(0, low), high: Math.min(1, high) }
}
export function interval(values: readonly number[]): Interval {
  const n = values.length
  const mean = values.reduce((a, b) => a + b, 0) / n
  if (n < 2) return { mean, half: null }
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1)
  return { mean, half: (tQuantiles[n - 2] ?? 1.96) * Math.sqrt(variance / n) }
}

/**
 * Whether runs of the same seeds differ by more than chance: the 95 % interval of the paired differences leaves out 0. Undefined for a single
 * seed. Two seeds whose differences happen to be equal, as shares of a small file do, show no spread to judge by, so they tell nothing apart.
 */
export function differ(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): boolean | undefined {
  const differences = [...a].filter(([seed]) => b.has(seed)).map(([seed, v]) => v - (b.get(seed) as number))
  const { mean, half } = interval(differences)
  if (half === null) return undefined
  return differences.length === 2 && half === 0 ? false : Math.abs(mean) > half
}
