import type { ArchitectureContext, Value } from '@graft-peft/core'
import type { Scope } from './scope.js'

/** The bucket of a distance key − query: exact near by, logarithmic further off (Raffel et al., 2020; T5's _relative_position_bucket). */
function bucket(distance: number, bidirectional: boolean, buckets: number, greatest: number): number {
  const half = bidirectional ? Math.floor(buckets / 2) : buckets
  const side = bidirectional && distance > 0 ? half : 0
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance)
  const exact = Math.floor(half / 2)
  if (far < exact) return side + far
  const { fround } = Math
  const log = fround(
    fround(fround(Math.log(fround(far / exact))) / Math.log(greatest / exact)) * (half - exact),
  )
  return side + Math.min(half - 1, exact + Math.floor(log))
}

/** Learned biases per head and distance between positions 0 … length − 1: [1, heads, length, length]. */
export function distanceBias(
  { g, config }: ArchitectureContext,
  at: Scope,
  heads: number,
  length: Value,
  { bidirectional }: { bidirectional: boolean },
): Value {
  const [buckets, greatest] = [
    config.count('relative_attention_num_buckets', 32),
    config.count('relative_attention_max_distance', 128),
  ]
  // Beyond the greatest distance all share a bucket, so a table of buckets that ends there serves any length.
  const table = Array.from({ length: 2 * greatest + 1 }, (_, i) =>
    bucket(i - greatest, bidirectional, buckets, greatest),
  )
  const weight = at.parameter('weight', [buckets, heads])
  return at.run(() => {
    const positions = g.range(g.squeeze(length, [0]))
    const distance = g.sub(g.unsqueeze(positions, [0]), g.unsqueeze(positions, [1]))
    const clipped = g.op('Clip', [distance, g.int(-greatest), g.int(greatest)])
    const perPair = g.gather(weight, g.gather(g.ints(table), g.add(clipped, g.int(greatest))))
    return g.unsqueeze(g.transpose(perPair, [2, 0, 1]), [0])
  })
}
