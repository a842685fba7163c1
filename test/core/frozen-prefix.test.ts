import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { graft, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const upper = { name: 'lora', r: 4, target_modules: ['q_proj', 'up_proj'], layers_to_transform: [4, 5] }
const losses = (folder: string): number[] =>
  readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((l) => l.phase === undefined)
    .map((l) => l.loss)

it('what frozen layers compute is kept, and training goes the same way', async () => {
  const model = sproutFolder(join(temporaryFolder(), 'model'))
  const trained = async (cache: string | null) => {
    const folder = temporaryFolder()
    const { code, stderr } = await graft([
      'train',
      writeRun(folder, {
        model,
        objective: 'sequence-classification',
        method: upper,
        cache,
        training: { epochs: 3 },
      }),
    ])
    expect(code, stderr).toBe(0)
    return losses(folder)
  }
  const [plain, cached] = [await trained(null), await trained('frozen-prefix')]
  expect(cached).toHaveLength(plain.length)
  cached.forEach((loss, i) => expect(loss).toBeCloseTo(plain[i], 4))
})

it('says so where nothing below the adapter is frozen', async () => {
  const folder = temporaryFolder()
  const { code, stderr } = await graft(['train', writeRun(folder, { cache: 'frozen-prefix' })])
  expect(code).toBe(1)
  expect(stderr).toMatch(/trains in the first layer already.*\[NO_FROZEN_PREFIX\]/s)
})
