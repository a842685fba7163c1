import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSafetensors } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

it('an adapter keeps its budget whichever evaluation was best, a module at rank 0 is saved and loads', async () => {
  const folder = temporaryFolder()
  const method = {
    name: 'adalora',
    init_r: 4,
    target_r: 1,
    tinit: 2,
    tfinal: 6,
    deltaT: 2,
    target_modules: ['q_proj', 'v_proj', 'down_proj'],
  }
  const { code, stderr } = await graft(['train', writeRun(folder, { method, training: { eval_every: 3 } })])
  expect(code, stderr).toBe(0)
  const { rank_pattern, total_step } = JSON.parse(
    readFileSync(join(folder, 'out/adapter/adapter_config.json'), 'utf8'),
  )
  expect(total_step).toBe(24)
  const kept = Object.values(rank_pattern as Record<string, boolean[]>).map(
    (rows) => rows.filter(Boolean).length,
  )
  expect(kept).toHaveLength(18)
  expect(kept.reduce((a, b) => a + b, 0)).toBe(18)
  expect(kept).toContain(0)
  const { tensors } = readSafetensors(join(folder, 'out/adapter/adapter_model.safetensors'))
  expect([...tensors.values()].some((t) => t.shape[0] === 0)).toBe(true)
  const log = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const inUse = log
    .filter((e) => e.ranks)
    .map((e) => Object.values(e.ranks as Record<string, number>).reduce((a, b) => a + b, 0))
  expect(inUse.at(-1)).toBe(18)
  expect(log.filter((e) => e.penalty !== undefined).length).toBe(24)
  const predicted = await graft(['predict', join(folder, 'out/adapter'), '-'], {
    input: '{"text":"where is my parcel"}\n',
  })
  expect(predicted.code, predicted.stderr).toBe(0)
  expect((await graft(['merge', join(folder, 'out/adapter'), join(folder, 'merged')])).code).toBe(0)
  expect(existsSync(join(folder, 'merged/model.onnx'))).toBe(true)
})

it.each(['float32', 'int8'])(
  'its work after a step is part of the step: 4 steps in %s',
  async (precision) => {
    const folder = temporaryFolder()
    const method = { name: 'adalora', init_r: 3, target_r: 1, tinit: 1, tfinal: 1, deltaT: 1 }
    const training = { max_steps: 4 }
    const { code, stderr } = await graft(['train', writeRun(folder, { method, training, precision })])
    expect(code, stderr).toBe(0)
    const used = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { ranks?: Record<string, number> })
      .filter((e) => e.ranks)
      .map((e) => Object.values(e.ranks as Record<string, number>).reduce((a, b) => a + b, 0))
    expect(used).toHaveLength(4)
    expect(used[3]).toBeLessThan(used[0])
  },
)
