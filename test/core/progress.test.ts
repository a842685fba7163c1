import { describe, expect, test } from 'vitest'
import { beginning, judged, rise } from '../../packages/core/src/trainer/progress.js'
import { Random } from '@graft-peft/core'

const accuracy = { name: 'accuracy', better: 'higher', isShare: true, compute: () => 0 } as const
const perplexity = { ...accuracy, name: 'perplexity', better: 'lower' } as const

/** Which step is kept after evaluations of [accuracy, loss], one a step, and at which step it stops. */
function judge(evaluations: readonly (readonly [number, number])[], patience: number | null = null) {
  let progress = beginning
  for (const [value, loss] of evaluations) {
    progress = { ...progress, step: progress.step + 1 }
    progress = judged(progress, { accuracy: value, loss }, accuracy as never, {
      settled: true,
      patience,
    }).progress
    if (progress.stopped) break
  }
  return { kept: progress.best?.step, ended: progress.step }
}

describe('which evaluation is kept', () => {
  test('of equal metrics, that of the lower loss', () => {
    expect(
      judge([
        [0.5, 2],
        [0.9, 0.7],
        [0.9, 0.4],
        [0.9, 0.5],
        [0.8, 0.1],
      ]).kept,
    ).toBe(3)
  })
  test('a lower loss alone does not put early stopping off', () => {
    expect(
      judge(
        [
          [0.9, 0.7],
          [0.9, 0.6],
          [0.9, 0.5],
          [1, 0.1],
        ],
        2,
      ),
    ).toEqual({ kept: 3, ended: 3 })
  })
  test('lower may be better', () => {
    const first = { ...beginning, step: 1 }
    const at = { settled: true, patience: null }
    const { progress } = judged(first, { perplexity: 9, loss: 2 }, perplexity as never, at)
    expect(judged(progress, { perplexity: 8, loss: 3 }, perplexity as never, at).improved).toBe(true)
    expect(judged(progress, { perplexity: 10, loss: 1 }, perplexity as never, at).improved).toBe(false)
  })
  test('what is no number ends the run', () => {
    expect(() => judge([[0.5, Number.NaN]])).toThrow(/validation loss after step 1 is NaN: training diverged/)
  })
})

describe('a loss that rose', () => {
  const noisy = (from: number, to: number, noise: number, steps = 60) => {
    const random = new Random(7)
    return Array.from(
      { length: steps },
      (_, i) => from + ((to - from) * i) / steps + noise * (random.unit() - 0.5),
    )
  }
  test('is told from noise', () => {
    expect(rise(noisy(2, 9, 1))?.to).toBeCloseTo(8.3, 0)
    expect(rise(noisy(2.5, 2.6, 2))).toBeUndefined()
    expect(rise(noisy(2.5, 0.5, 2))).toBeUndefined()
    expect(rise([1, 2, 4, 8])).toBeUndefined()
  })
})
