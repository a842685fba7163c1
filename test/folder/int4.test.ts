import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Estimate } from '@graft-peft/core/app'
import { expect, it } from 'vitest'
import { graft, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

it('a classifier learns on a folder kept in 4 bits: its new head is no part of what is packed', async () => {
  const at = temporaryFolder()
  const base = sproutFolder(join(at, 'base'))
  const config = writeRun(at, { model: base, quantize: 'int4', training: { epochs: 6, batch_size: 8 } })
  const { code, stdout, stderr } = await graft(['train', config])
  expect(code, stderr).toBe(0)
  expect(Number(stdout.match(/After .*accuracy ([\d.]+) %/)?.[1])).toBeGreaterThan(60)
  const input = JSON.stringify({ text: 'where is my parcel' })
  const answered = await graft(['predict', join(at, 'out/adapter'), '-'], { input })
  expect(answered.code, answered.stderr).toBe(0)
  expect(JSON.parse(answered.stdout)).toMatchObject({ prediction: expect.any(String) })
})

it('what a base in 4 bits takes is foretold from its config alone', async () => {
  const at = temporaryFolder()
  const base = sproutFolder(join(at, 'base'))
  const alone = join(at, 'alone')
  mkdirSync(alone)
  copyFileSync(join(base, 'config.json'), join(alone, 'config.json'))
  const estimated = async (...args: string[]): Promise<Estimate> => {
    const sizes = ['--batch', '2', '--seq', '32', '--rank', '4', '--json']
    const { code, stdout, stderr } = await graft(['estimate', ...args, ...sizes])
    expect(code, stderr).toBe(0)
    return JSON.parse(stdout)
  }
  const [whole, packed, read, real] = await Promise.all([
    estimated(alone, '--config-only'),
    estimated(alone, '--config-only', '--quantize', 'int4'),
    estimated(base),
    estimated(base, '--quantize', 'int4'),
  ])
  expect(whole.methods[0].memory).toEqual(read.methods[0].memory)
  expect(packed.weights).toBeLessThan(0.5 * whole.weights)
  expect(packed.parameters).toBe(real.parameters)
  expect(packed.methods[0].memory).toEqual(real.methods[0].memory)
})
