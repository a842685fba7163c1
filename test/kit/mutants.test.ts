import { checkMethod, checks, type ValidCase, wholeChecks } from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'
import { ofData } from './data-mutants.js'
import { ofFiles } from './file-mutants.js'
import { ofLearning } from './learning-mutants.js'
import { small } from './small.js'

const target_modules = ['q_proj', 'v_proj']
const valid: ValidCase[] = [{ config: { target_modules } }]

describe('faults planted in a method', () => {
  it.each([...ofLearning, ...ofData, ...ofFiles])(
    '$kind: one that $what',
    async ({ method, check, caught, test = valid[0] }) => {
      const own = checks.filter((c) => c.name.startsWith(check)).map((c) => () => c.run(method, test))
      const whole = wholeChecks
        .filter((c) => c.name.startsWith(check))
        .map((c) => () => c.run(method, { valid: [test] }))
      const [run] = [...own, ...whole]
      await expect(run()).rejects.toThrow(caught)
    },
  )
})

describe('a sound method passes', () => {
  it.each([1e-2, 0.1, 1, 8, 32])('at scale %d', async (scale) => {
    const cases = { valid: [{ config: { target_modules, scale } }] }
    expect(await checkMethod(small(), cases)).toEqual([])
  })
})

it('refuses a case that is there twice', async () => {
  const failures = await checkMethod(small(), { valid: [...valid, ...valid] })
  expect(failures.map((f) => f.message)).toContainEqual(expect.stringMatching(/there twice/))
})
