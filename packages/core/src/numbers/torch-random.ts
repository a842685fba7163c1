import { mersenne } from 'pure-rand/generator/mersenne'

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)
/** The nearest bfloat16, ties to even. */
export function bfloat16(value: number): number {
  float[0] = value
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000
  return float[0]
}

/**
 * torch's CPU generator (mt19937) and what it makes of it, number for number: methods whose projections HF PEFT draws from a
 * seed, and doesn't always store, get the same ones here. aten/src/ATen/core/DistributionsHelper.h, native/TensorFactories.cpp.
 */
export class TorchRandom {
  private readonly generator
  constructor(seed: number) {
    this.generator = mersenne(seed)
  }
  private bits(): number {
    return this.generator.next() >>> 0
  }
  /** torch.rand: 24 bits in [0, 1) */
  unit(): number {
    return (this.bits() & 0xffffff) / 2 ** 24
  }
  /** tensor.uniform_(−bound, bound) */
  uniform(size: number, bound: number): Float32Array {
    return Float32Array.from(
      { length: size },
      () => Math.fround(this.unit() * Math.fround(2 * bound)) - Math.fround(bound),
    )
  }
  /** The same on a bfloat16 tensor: drawn as float32, then rounded; what rounds to the upper bound, which is open, becomes the lower. */
  uniformBfloat16(size: number, bound: number): Float32Array {
    const edge = bfloat16(bound)
    return this.uniform(size, bound).map((v) => (bfloat16(v) === edge ? -edge : bfloat16(v)))
  }
  /** tensor.normal_(0, deviation): sixteen at a time from as many uniform numbers, the last sixteen drawn anew where they aren't whole. */
  normal(size: number, deviation: number): Float32Array {
    if (size < 16) return this.fewNormal(size, deviation)
    const drawn = Float32Array.from({ length: size }, () => this.unit())
    const fill = (start: number) => {
      for (let j = start; j < start + 8; j++) {
        const radius = Math.sqrt(-2 * Math.log(1 - drawn[j])) * deviation
        const angle = 2 * Math.PI * drawn[j + 8]
        drawn[j] = radius * Math.cos(angle)
        drawn[j + 8] = radius * Math.sin(angle)
      }
    }
    for (let i = 0; i + 16 <= size; i += 16) fill(i)
    if (size % 16 === 0) return drawn
    for (let i = size - 16; i < size; i++) drawn[i] = this.unit()
    fill(size - 16)
    return drawn
  }
  /** Fewer than sixteen come in pairs, from numbers of 53 bits. */
  private fewNormal(size: number, deviation: number): Float32Array {
    const values: number[] = []
    while (values.length < size) {
      const angle = 2 * Math.PI * this.double()
      const radius = Math.sqrt(-2 * Math.log1p(-this.double())) * deviation
      values.push(radius * Math.cos(angle), radius * Math.sin(angle))
    }
    return Float32Array.from(values.slice(0, size))
  }
  private double(): number {
    const high = this.bits()
    return ((high & 0x1fffff) * 2 ** 32 + this.bits()) / 2 ** 53
  }
  /** The first `count` of torch.randperm(n). */
  permutation(n: number, count: number): Float64Array {
    const moved = new Map<number, number>()
    const at = (i: number) => moved.get(i) ?? i
    return Float64Array.from({ length: count }, (_, i) => {
      const j = i === n - 1 ? i : i + (this.bits() % (n - i))
      const picked = at(j)
      moved.set(j, at(i))
      return picked
    })
  }
}
