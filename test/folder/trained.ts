import { join } from 'node:path'
import { openAdapter } from '@graft-peft/core/app'
import { defaultRegistry } from 'graft-peft'
import { beforeAll, expect } from 'vitest'
import { graft, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

export const registry = defaultRegistry()
/** The base model's folder, once the tests run. */
export let base: string
/** Folders of adapters, each trained a little. */
export const adapters: Record<string, string> = {}
export const lines = Array.from({ length: 24 }, (_, i) =>
  JSON.stringify({ prompt: `What is ${i}?`, completion: ` It is ${i} and more.` }),
)

/** Trains a little by a method and returns the adapter's folder. */
export async function train(method: unknown, rest: Record<string, unknown> = {}): Promise<string> {
  const at = temporaryFolder()
  const config = writeRun(
    at,
    {
      model: base,
      method,
      data: { validation: 0 },
      training: { max_steps: 5, batch_size: 8, learning_rate: 2e-2 },
      ...rest,
    },
    lines,
  )
  const { code, stderr } = await graft(['train', config])
  expect(code, stderr).toBe(0)
  return join(at, 'out/adapter')
}
/** For the tests of a file that work on these adapters. */
export const trainFirst = (): void =>
  beforeAll(async () => {
    base = sproutFolder(join(temporaryFolder(), 'base'))
    adapters.lora = await train({
      name: 'lora',
      r: 4,
      lora_alpha: 8,
      target_modules: ['q_proj', 'down_proj'],
    })
    adapters.rslora = await train(
      { name: 'lora', r: 2, use_rslora: true, target_modules: ['q_proj', 'v_proj'] },
      { seed: 1 },
    )
    adapters.adalora = await train({
      name: 'adalora',
      init_r: 4,
      target_r: 2,
      target_modules: ['q_proj'],
      tinit: 1,
      tfinal: 1,
    })
    adapters.ia3 = await train({ name: 'ia3', target_modules: ['k_proj'], feedforward_modules: [] })
    adapters.prompt = await train({ name: 'prompt-tuning', num_virtual_tokens: 3 })
  })

export const open = (folder: string) => openAdapter(folder, registry, base)
