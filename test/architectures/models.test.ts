import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { openModel } from '@graft-peft/core/app'
import { describe, expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'
import { counted, readCase, unpack, writeModel } from './case.js'
import { difference, gradientDifference, outputOf, written } from './judge.js'

/** Other results than the kept ones: MODELS=DIR, of test/golden/make_models.py. */
const folder = process.env.MODELS ?? join(root, 'test/golden/models')
const architectures = registry.all('architecture')

describe('tiny models with odd options are as transformers and HF PEFT have them', () => {
  for (const name of readdirSync(folder).filter((f) => f.endsWith('.json'))) {
    const given = readCase(join(folder, name))
    it(`${name.replace('.json', '')}, ${given.task}`, async () => {
      const at = writeModel(given, temporaryFolder())
      const model = openModel(at, { architectures, task: given.task })
      const far = difference(await outputOf(model, given), unpack(given.output[1]), counted(given))
      expect(far).toBeLessThan(1e-5)
      expect(await gradientDifference(model, given)).toBeLessThan(1e-4)
      if (!given.prompts || !given.written) return
      const cached = openModel(at, { architectures, task: given.task, cache: true })
      expect(await written(cached, given.prompts, given.written[0].length)).toEqual(given.written)
    })
  }
})
