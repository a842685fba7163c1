import { tokenClassification } from '@graft-peft/core'
import { Registry } from '@graft-peft/core/app'
import {
  checkObjective,
  type ObjectiveCases,
  objectiveChecks,
  openObjective,
  testObjective,
} from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'
import { mutants } from './objective-mutants.js'
import { answered, classes, labelled, pictures, texts, written } from './records.js'

const cases: Readonly<Record<string, readonly ObjectiveCases[]>> = {
  'causal-lm': [{ records: written }],
  'sequence-classification': [{ records: labelled }, { records: labelled, model: 'encoder' }],
  regression: [{ records: texts.map((text, i) => ({ text, label: i - 0.5 })) }],
  'token-classification': [
    {
      records: texts.map((text) => ({
        tokens: text.split(' '),
        labels: text.split(' ').map((_, k) => classes[k % 3]),
      })),
    },
  ],
  'sentence-embedding': [
    {
      records: texts.map((text) => ({ anchor: text, positive: text.toUpperCase().slice(2) })),
      model: 'features',
    },
  ],
  'image-classification': [{ records: pictures, model: 'images' }],
  'sequence-to-sequence': [{ records: answered, model: 'answerer', answers: ['completion'] }],
}

const objectives = new Registry().all('objective')
for (const objective of objectives) testObjective({ describe, it }, objective, cases[objective.name] ?? [])
it('every built-in objective is checked', () =>
  expect(objectives.map((o) => o.name).sort()).toEqual(Object.keys(cases).sort()))

describe('faults planted in an objective', () => {
  it.each(mutants)('$kind: one that $what', async ({ objective, on: cases, check, caught }) => {
    const [found] = objectiveChecks.filter((c) => c.name.startsWith(check))
    const run = async () => found.run(await openObjective(objective, cases))
    await expect(run()).rejects.toThrow(caught)
  })
  it('are listed by check where there is no framework', async () => {
    const failures = await checkObjective(mutants[0].objective, mutants[0].on)
    expect(failures.map((f) => f.check)).toContain('other answers change the loss, and no prediction')
  })
  it('an objective of tokens is none of text', () => expect(tokenClassification.answers).toBe('tokens'))
})
