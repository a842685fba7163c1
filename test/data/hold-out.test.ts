import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '@graft-peft/core/app'
import { HoldOut, readInputs } from '@graft-peft/core/inside'
import { expect, test } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'
import { registry } from '../tiny.js'

/** 61 of one class, 30, 8, 2, 1, in a fixed disorder. */
const sizes = new Map(Object.entries({ most: 61, many: 30, some: 8, pair: 2, lone: 1 }))
const groups = [...sizes].flatMap(([name, n]) => Array.from({ length: n }, () => name))
const mixed = groups.map((_, i) => groups[(i * 37) % groups.length])

const heldBy = (seed: number, share = 0.25): boolean[] =>
  mixed.map(new HoldOut(sizes, share, seed, 'v').pass())
const counted = (held: readonly boolean[]) =>
  Object.fromEntries([...sizes.keys()].map((g) => [g, held.filter((h, i) => h && mixed[i] === g).length]))

test('each class is held out in proportion, remainders to the largest, one kept of each', () => {
  // A quarter of 102 is 25; 15.25, 7.5, 2, 0.5 and 0.25 round down to 24, and the half of 30 comes first.
  expect(counted(heldBy(0))).toEqual({ most: 15, many: 8, some: 2, pair: 0, lone: 0 })
  expect(counted(heldBy(0, 0.26))).toEqual({ most: 16, many: 8, some: 2, pair: 0, lone: 0 })
  expect(counted(heldBy(0, 0.9)).lone).toBe(0)
})

test('which ones is a function of the seed', () => {
  expect(heldBy(1)).toEqual(heldBy(1))
  expect(heldBy(2)).not.toEqual(heldBy(1))
  expect(counted(heldBy(2))).toEqual(counted(heldBy(1)))
})

test('a run holds out by class, says so, and names what validation lacks', async () => {
  const folder = temporaryFolder()
  const lines = mixed.map((label, i) => JSON.stringify({ text: `record ${i}`, label }))
  const config = writeRun(folder, { data: { validation: 0.26 }, training: { max_steps: 1 } }, lines)
  const inputs = await readInputs(await loadConfig(config, registry), registry)
  const labels = await Promise.all(
    Array.from(
      { length: inputs.validation.length },
      async (_, i) => inputs.labels[(await inputs.validation.get(i)).label!],
    ),
  )
  inputs.close()
  const found = Object.fromEntries([...sizes.keys()].map((g) => [g, labels.filter((l) => l === g).length]))
  expect(found).toEqual({ most: 16, many: 8, some: 2, pair: 0, lone: 0 })
  const { stdout } = await graft(['train', config])
  expect(stdout).toMatch(/Data {5}train 76 · validation 26 \(held out by class\) · 5 labels/)
  expect(stdout).toMatch(/2 of 5 classes, such as (pair|lone), have too few examples for one to be held out/)
})

test('texts to continue are held out at random', async () => {
  const folder = temporaryFolder()
  const lines = Array.from({ length: 20 }, (_, i) => JSON.stringify({ text: `record ${i}` }))
  const { stdout } = await graft(['train', writeRun(folder, { training: { max_steps: 1 } }, lines)])
  expect(stdout).toMatch(/validation 5 \(held out at random\)/)
  writeFileSync(join(folder, 'valid.jsonl'), lines.slice(0, 3).join('\n'))
  const given = await graft([
    'train',
    writeRun(folder, { data: { validation: 'valid.jsonl' }, output: 'b', training: { max_steps: 1 } }, lines),
  ])
  expect(given.stdout).toMatch(/validation 3$/m)
})
