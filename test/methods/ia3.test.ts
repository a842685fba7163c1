import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

const input = '{"text":"where is my parcel"}\n{"text":"are you open today"}\n'
const training = { max_steps: 4 }

async function trained(options: Record<string, unknown>) {
  const folder = temporaryFolder()
  const { code, stderr } = await graft([
    'train',
    writeRun(folder, { method: { name: 'ia3', ...options }, training }),
  ])
  expect(code, stderr).toBe(0)
  const adapter = join(folder, 'out/adapter')
  return { adapter, config: JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8')) }
}
async function predicted(adapter: string): Promise<string> {
  const { code, stdout, stderr } = await graft(['predict', adapter, '-'], { input })
  expect(code, stderr).toBe(0)
  return stdout
}

describe('(IA)³ says which of its modules are feed-forward', () => {
  it('resolved, and opens by the table what says null', async () => {
    const { adapter, config } = await trained({})
    expect(config.target_modules).toEqual(['k_proj', 'v_proj', 'down_proj'])
    expect(config.feedforward_modules).toEqual(['down_proj'])
    const before = await predicted(adapter)
    writeFileSync(
      join(adapter, 'adapter_config.json'),
      JSON.stringify({ ...config, feedforward_modules: null }),
    )
    expect(await predicted(adapter)).toBe(before)
  })

  it.each([
    [{ target_modules: ['q_proj', 'mlp.down_proj'] }, ['mlp.down_proj']],
    [{ target_modules: ['q_proj', 'up_proj'], feedforward_modules: [] }, []],
    [{ target_modules: ['v_proj', 'down_proj'], layers_to_transform: 0 }, ['model.layers.0.mlp.down_proj']],
    [{ target_modules: '.*\\.1\\..*(up|down)_proj' }, ['model.layers.1.mlp.down_proj']],
  ])('%j', async (options, feedForward) => {
    const { adapter, config } = await trained(options)
    expect(config.feedforward_modules).toEqual(feedForward)
    // HF PEFT's IA3Config refuses others.
    for (const name of feedForward) expect(config.target_modules).toContain(name)
    await predicted(adapter)
  })
})
