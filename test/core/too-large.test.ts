import { tooLarge, machineMemory } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

it('a run that is forecast to take more than there is says so, in figures, with what helps', () => {
  expect(tooLarge(9.24e9, 8e9)).toMatch(
    /take 9\.2 GB, and this machine has 8\.0 GB.*batch_size.*memory: low/s,
  )
  expect(tooLarge(7.9e9, 8e9)).toBeUndefined()
  expect(machineMemory()).toBeGreaterThan(1e8)
})

it('train tells what was foretold before the first step, and what it was at the end', async () => {
  const config = writeRun(temporaryFolder(), { training: { max_steps: 3 } })
  const { stdout } = await graft(['train', config])
  const [, before] =
    stdout.match(/Memory {3}([\d,]+) MB at most, as foretold:\n {9}weights \d+ · activations/) ?? []
  const [, measured, foretold] =
    stdout.match(/Memory {3}([\d,]+) MB at its largest; foretold were ([\d,]+)/) ?? []
  expect(foretold).toBe(before)
  expect(Number(measured) / Number(foretold)).toBeGreaterThan(0.7)
  expect(Number(measured) / Number(foretold)).toBeLessThan(1.4)
  const { stdout: json } = await graft(['train', config, '--json', '--overwrite'])
  const events = json.trim().split('\n')
  const end = JSON.parse(events[events.length - 1])
  expect(end.memory.measured).toBeGreaterThan(1e8)
  expect(end.memory.foretold).toBeGreaterThan(1e8)
})
