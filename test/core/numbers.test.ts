import { NumpyRandom, roundHalfEven, TorchRandom } from '@graft-peft/core'
import { expect, it } from 'vitest'

it('numpy.random.default_rng: choice without replacement and shuffle', () => {
  const dealt = (seed: number) => {
    const random = new NumpyRandom(seed)
    const chosen = [...random.choose(256, 37)].slice(0, 5)
    const list = Uint32Array.from({ length: 50 }, (_, i) => i)
    random.shuffle(list)
    return [...chosen, ...list.slice(0, 5)]
  }
  expect(dealt(42)).toEqual([171, 177, 140, 97, 225, 19, 0, 36, 25, 35])
  expect(dealt(2 ** 33 + 5)).toEqual([127, 98, 227, 254, 122, 22, 10, 14, 0, 42])
  // Many of many: the tail of a shuffle.
  expect([...new NumpyRandom(5).choose(20000, 1000)].slice(0, 4)).toEqual([10974, 12442, 12953, 16040])
})

it.each([
  [7, [0.7394, 0.595925, -0.072308, 0.242358]],
  [16, [-0.033883, -0.044298, -0.156177, -0.17761]],
  [75, [-0.082263, -0.266457, 0.065931, -0.148292]],
])('torch.normal(0, 0.5) of %i numbers', (size, last) => {
  const drawn = [...new TorchRandom(43).normal(size, 0.5)].slice(-4)
  drawn.forEach((v, i) => expect(v).toBeCloseTo(last[i], 5))
})

it('rounds as Python does', () =>
  expect([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3]))
