import { createHash } from 'node:crypto'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'

/** A seeded stream of numbers. Streams are named, so what one consumer draws never shifts what another gets. */
export class Random {
  private readonly generator
  constructor(seed: number, stream = '') {
    const digest = createHash('sha256').update(`${seed}/${stream}`).digest()
    this.generator = xoroshiro128plus(digest.readInt32LE(0))
  }
  /** a whole number in [0, bound) */
  below(bound: number): number {
    return uniformInt(this.generator, 0, bound - 1)
  }
  /** a number in [0, 1), 32 bits fine */
  unit(): number {
    return (this.generator.next() >>> 0) / 2 ** 32
  }
  uniform(low: number, high: number): number {
    return low + (high - low) * this.unit()
  }
  /** standard normal (Box and Muller, 1958) */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit())
  }
  /** a permutation in place (Fisher and Yates) */
  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      ;[list[i], list[j]] = [list[j], list[i]]
    }
    return list
  }
}

/** Python's round: halves go to the even neighbour. */
export const roundHalfEven = (x: number): number => {
  const below = Math.floor(x)
  return x - below === 0.5 ? below + (below % 2) : Math.round(x)
}
