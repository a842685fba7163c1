import { mersenne } from 'pure-rand/generator/mersenne'

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
