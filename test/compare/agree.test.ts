import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '@graft-peft/core/app'
import { loadComparison } from '@graft-peft/compare'
import { stringify } from 'yaml'
import { describe, expect, test } from 'vitest'
import { defaultRegistry } from '../../packages/cli/src/builtins.js'
import { graft, temporaryFolder, writeComparison, writeRun } from '../fixture.js'

const methods = defaultRegistry()
  .all('method')
  .map((m) => m.name)
/** Options that a method can't do without. */
const required: Record<string, object> = { trainable_tokens: { token_indices: [3] } }

describe('train and compare', () => {
  const folder = temporaryFolder()
  const entries = methods.map((name) => ({ name, ...required[name] }))
  const path = writeComparison(
    folder,
    { methods: entries, exclude: ['base'] },
    { training: { learning_rate: null } },
  )

  test.each(methods)('train %s with the same options and the same learning rate', async (name) => {
    const registry = defaultRegistry()
    const { runs } = await loadComparison(path, registry)
    const [{ config: ofRun }] = runs.filter((r) => r.label === name)
    const run = join(temporaryFolder(), 'config.json')
    writeFileSync(run, JSON.stringify(ofRun))
    const compared = await loadConfig(run, registry)
    const own = writeRun(temporaryFolder(), {
      method: { name, ...required[name] },
      training: { learning_rate: null },
    })
    const trained = await loadConfig(own, registry)
    expect(compared.methodOptions).toEqual(trained.methodOptions)
    expect(compared.training.learning_rate).toBe(trained.training.learning_rate)
    expect(trained.training.learning_rate).toBe(registry.get('method', name).learningRate)
    expect(trained.chosen.learning_rate).toBe(trained.training.learning_rate)
  })
})

describe('what a config leaves open', () => {
  const loaded = (method: object | string) =>
    loadConfig(writeRun(temporaryFolder(), { method }), defaultRegistry())
  test('is chosen by the method, and told', async () => {
    const { methodOptions, chosen } = await loaded({ name: 'lora', r: 3 })
    expect(chosen).toEqual({ target_modules: 'all-linear', lora_alpha: 6 })
    expect(methodOptions).toMatchObject({ ...chosen, r: 3 })
  })
  test('and nothing that it says', async () => {
    const given = { r: 4, lora_alpha: 5, target_modules: null }
    const { methodOptions, chosen, training } = await loaded({ name: 'lora', ...given })
    expect(chosen).toEqual({})
    expect(methodOptions).toMatchObject(given)
    expect(training.learning_rate).toBe(1e-2)
    expect((await loaded({ name: 'lora', use_rslora: true })).chosen).toEqual({
      target_modules: 'all-linear',
    })
  })
  test('is printed', async () => {
    const folder = temporaryFolder()
    writeRun(folder)
    const config = join(folder, 'open.yaml')
    const data = { train: 'train.jsonl', max_length: 32 }
    writeFileSync(
      config,
      stringify({
        model: join(process.cwd(), 'examples/support-intents/model'),
        data,
        method: 'lora',
        training: { max_steps: 1 },
      }),
    )
    const { stdout, code, stderr } = await graft(['train', config])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(
      /target_modules all-linear, lora_alpha 16, learning_rate 0\.002: chosen, as the config leaves them open/,
    )
  })
})
