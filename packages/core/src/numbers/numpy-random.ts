import { mersenne } from 'pure-rand/generator/mersenne'

/**
 * numpy's default generator (PCG64, seeded through SeedSequence) and what it makes of it, number for number: places that HF PEFT
 * draws with it and doesn't store. O'Neill, 2014; numpy/random/bit_generator.pyx, _generator.pyx, src/distributions/distributions.c.
 */
export class NumpyRandom {
  private state: bigint
  private readonly increment: bigint
  /** the other half of the last number of 64 bits */
  private spare: number | undefined

  constructor(seed: number) {
    const [high, low, incrementHigh, incrementLow] = seedWords(seed)
    this.increment = ((((incrementHigh << 64n) | incrementLow) << 1n) | 1n) & mask128
    this.state = ((this.increment + ((high << 64n) | low)) * multiplier + this.increment) & mask128
  }

  private bits64(): bigint {
    this.state = (this.state * multiplier + this.increment) & mask128
    const folded = (this.state >> 64n) ^ (this.state & mask64)
    const turn = this.state >> 122n
    return ((folded >> turn) | (folded << (64n - turn))) & mask64
  }
  private bits32(): number {
    const { spare } = this
    this.spare = undefined
    if (spare !== undefined) return spare
    const drawn = this.bits64()
    this.spare = Number(drawn >> 32n)
    return Number(drawn & mask32)
  }
  /** A whole number in [0, most], without bias (Lemire, 2019); `most` below 2³² − 1. */
  private upTo(most: number): number {
    if (most === 0) return 0
    const range = BigInt(most + 1)
    const threshold = (mask32 - BigInt(most)) % range
    for (;;) {
      const product = BigInt(this.bits32()) * range
      if ((product & mask32) >= threshold) return Number(product >> 32n)
    }
  }
  /** The same by masks and rejection, as Generator.shuffle draws. */
  private within(most: number): number {
    const mask = 2 ** (32 - Math.clz32(most)) - 1
    for (;;) {
      const value = (this.bits32() & mask) >>> 0
      if (value <= most) return value
    }
  }
  /** Generator.shuffle of a vector: in place. */
  shuffle(values: Uint32Array): void {
    deal(values, 1, (most) => this.within(most))
  }
  /** Generator.choice(n, count, replace=False). */
  choose(n: number, count: number): Uint32Array {
    if (n > 10000 && count > Math.floor(n / 50)) {
      const all = Uint32Array.from({ length: n }, (_, i) => i)
      deal(all, Math.max(n - count, 1), (most) => this.upTo(most))
      return all.slice(n - count)
    }
    const taken = new Set<number>()
    for (let j = n - count; j < n; j++) {
      const value = this.upTo(j)
      taken.add(taken.has(value) ? j : value)
    }
    const chosen = Uint32Array.from(taken)
    deal(chosen, 1, (most) => this.upTo(most))
    return chosen
  }
}

/** Fisher and Yates' shuffle, down to place `first`. */
function deal(values: Uint32Array, first: number, upTo: (most: number) => number): void {
  for (let i = values.length - 1; i >= first; i--) {
    const j = upTo(i)
    ;[values[i], values[j]] = [values[j], values[i]]
  }
}

const [mask32, mask64, mask128] = [32n, 64n, 128n].map((bits) => (1n << bits) - 1n)
const multiplier = 0x2360ed051fc65da44385df649fccf645n

/** SeedSequence(seed).generate_state(4, uint64): the seed hashed into a pool of four words, and the pool into eight. */
function seedWords(seed: number): bigint[] {
  const entropy = seed < 2 ** 32 ? [seed] : [seed % 2 ** 32, Math.floor(seed / 2 ** 32)]
  const pool = mixedPool(entropy)
  let constant = 0x8b51f9dd
  const words = Array.from({ length: 8 }, (_, i) => {
    const value = (pool[i % 4] ^ constant) >>> 0
    constant = Math.imul(constant, 0x58f38ded) >>> 0
    const product = Math.imul(value, constant) >>> 0
    return BigInt((product ^ (product >>> 16)) >>> 0)
  })
  return [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n))
}
function mixedPool(entropy: readonly number[]): number[] {
  let constant = 0x43b0d7e5
  const hashed = (word: number): number => {
    const value = (word ^ constant) >>> 0
    constant = Math.imul(constant, 0x931e8875) >>> 0
    const product = Math.imul(value, constant) >>> 0
    return (product ^ (product >>> 16)) >>> 0
  }
  const mix = (x: number, y: number): number => {
    const result = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0
    return (result ^ (result >>> 16)) >>> 0
  }
  const pool = [0, 1, 2, 3].map((i) => hashed(entropy[i] ?? 0))
  for (let source = 0; source < 4; source++)
    for (let target = 0; target < 4; target++)
      if (source !== target) pool[target] = mix(pool[target], hashed(pool[source]))
  return pool
}

/** numpy.random.RandomState, numpy's generator of old (mt19937), as far as it is needed. */
export class NumpyRandomState {
  private readonly generator
  constructor(seed: number) {
    this.generator = mersenne(seed)
  }
  /** random_sample: 53 bits in [0, 1) */
  unit(): number {
    const [high, low] = [this.generator.next() >>> 5, this.generator.next() >>> 6]
    return (high * 2 ** 26 + low) / 2 ** 53
  }
}
