import { adamw, Evaluator, Forward, inMemory, Step, Stepper } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { attachingOf, openTiny, texts } from '../tiny.js'

const attaching = attachingOf('lora', { r: 2 })
const lengths = [3, 9, 4, 8, 2, 5]
const data = inMemory(
  lengths
    .map((n) => ({ ids: texts[0].ids.concat(texts[1].ids).concat(texts[0].ids).slice(0, n) }))
    .map(({ ids }) => ({ ids, tokenLabels: ids })),
)

it('evaluates no more tokens at a time than it is told, with the same result, and goes on after it was closed', async () => {
  const model = openTiny('llama')
  const step = Step.of(model, attaching, settings)
  const start = step.adapted.variables.initial(3)
  const evaluated = async (limit: { rows: number; tokens?: number }) => {
    const evaluator = Evaluator.of(Forward.of(model, attaching, 0), limit, {})
    const done: number[] = []
    const onProgress = (n: number) => done.push(n)
    const first = await evaluator.evaluate(data, start, [], [], { onProgress })
    await evaluator.close()
    const again = await evaluator.evaluate(data, start, [], [])
    await evaluator.close()
    expect(again).toEqual(first)
    return { loss: first.loss, done }
  }
  const whole = await evaluated({ rows: 32 })
  const cut = await evaluated({ rows: 3, tokens: 12 })
  expect(whole.done).toEqual([6])
  // By length 2, 3, 4 · 5 · 8 · 9: a second one of 5 or more would pass 12 tokens with padding, but for 5 beside 8.
  expect(cut.done).toEqual([3, 4, 5, 6])
  expect(cut.loss).toBeCloseTo(whole.loss, 4)
})

it('what an evaluation takes is foretold from its largest batch, and is nothing without data', async () => {
  const pass = () => Forward.of(openTiny('llama'), attaching, 0)
  const bytes = (rows: number) => pass().forecast([inMemory([]), data], { rows })
  expect(await bytes(6)).toBeGreaterThan(await bytes(1))
  expect(await pass().forecast([data], { rows: 6, tokens: 9 })).toBe(await bytes(1))
  expect(await pass().forecast([inMemory([])], { rows: 6 })).toBe(0)
})

const settings = {
  optimizer: adamw(),
  clip: 1,
  accumulate: false,
  memory: 'balanced' as const,
  sample: texts,
  pad: 0,
}
it('training goes on bit for bit after its session gave way to an evaluation', async () => {
  const losses = async (giveWay: boolean) => {
    const step = Step.of(openTiny('llama'), attaching, settings)
    const stepper = await Stepper.open(step, step.adapted.variables.initial(1), {})
    const found: number[] = []
    for (let t = 1; t <= 3; t++) {
      found.push((await stepper.step(t, 1e-2, [texts])).loss)
      if (giveWay) await stepper.close()
    }
    await stepper.close()
    return found
  }
  expect(await losses(true)).toEqual(await losses(false))
})
