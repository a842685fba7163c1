import { join } from 'node:path'
import { expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

/** The same texts, whose answer depends on who asks: learnt only where the task reaches the model. */
const lines = [0, 1].flatMap((desk) =>
  ['is it here', 'can I pay', 'are you open', 'how long'].flatMap((text) =>
    [1, 2].map((n) =>
      JSON.stringify({ text: `${text}${', please'.repeat(n)}`, label: desk ? 'yes' : 'no', desk }),
    ),
  ),
)
const method = {
  name: 'poly',
  r: 4,
  n_tasks: 2,
  n_skills: 2,
  target_modules: 'all-linear',
  exclude_modules: ['score'],
}

it('a field says which task a record belongs to, in training and in use', async () => {
  const folder = temporaryFolder()
  const data = { validation: 0, columns: { task: 'desk' } }
  const run = writeRun(folder, { method, data, training: { epochs: 20, learning_rate: 2e-2 } }, lines)
  const { code, stderr } = await graft(['train', run])
  expect(code, stderr).toBe(0)
  const ask = (records: object[]) =>
    graft(['predict', join(folder, 'out/adapter'), '-'], {
      input: records.map((r) => JSON.stringify(r)).join('\n'),
    })
  const predicted = await ask([0, 1, 1, 0].map((desk) => ({ text: 'can I pay, please', desk })))
  expect(predicted.code, predicted.stderr).toBe(0)
  const said = predicted.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).prediction)
  expect(said).toEqual(['no', 'yes', 'yes', 'no'])
  expect((await ask([{ text: 'can I pay', desk: 2 }])).stderr).toMatch(
    /task 2 is none of the method's 2 tasks, 0 to 1/,
  )
  expect((await ask([{ text: 'can I pay' }])).stderr).toMatch(/expected a number in field desk/)
})

it('data without the field is refused before training', async () => {
  const folder = temporaryFolder()
  const { code, stderr } = await graft(['train', writeRun(folder, { method })])
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/train.jsonl:1: expected a number in field task/)
})
