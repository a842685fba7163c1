import { Random } from '../numbers/random.js'

/**
 * A random permutation of 0 … length − 1 that needs no memory: a Feistel network over the next power of four, walked until it lands
 * below the length (Black and Rogaway, 2002, cycle walking). A function of its seed and name alone.
 */
export class Permutation {
  private readonly half: number
  private readonly keys: readonly number[]

  constructor(
    readonly length: number,
    seed: number,
    name: string,
  ) {
    this.half = Math.max(1, Math.ceil(Math.log2(Math.max(2, length)) / 2))
    const random = new Random(seed, name)
    this.keys = Array.from({ length: 6 }, () => random.below(2 ** 31 - 1))
  }

  at(i: number): number {
    let x = i
    do x = this.encrypt(x)
    while (x >= this.length)
    return x
  }
  private encrypt(x: number): number {
    const size = 2 ** this.half
    let [left, right] = [Math.floor(x / size), x % size]
    for (const key of this.keys) [left, right] = [right, (left ^ mix(right, key)) & (size - 1)]
    return left * size + right
  }
}
/** A hash of 32 bits (Murmur's finaliser). */
function mix(value: number, key: number): number {
  let h = Math.imul(value ^ key, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
