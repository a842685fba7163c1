import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { graft, type Settings, temporaryFolder, writeRun } from '../fixture.js'

const adalora = { name: 'adalora', target_modules: ['q_proj', 'v_proj'], tinit: 4, tfinal: 4, deltaT: 2 }
const bytes = (folder: string): string =>
  readFileSync(join(folder, 'out/adapter/adapter_model.safetensors')).toString('base64')
const losses = (folder: string): unknown[] =>
  readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map((l) => [l.step, l.phase, l.loss, l.gradient_norm, l.penalty])

/** Batches differ in length and rows, the last of an epoch in size: a loop must give each its own shape. */
const data = Array.from({ length: 30 }, (_, i) =>
  JSON.stringify({ prompt: 'count '.repeat(1 + (i % 5)), completion: 'one two three '.repeat(1 + (i % 3)) }),
)

async function trained(settings: Settings, steps_per_run: number | null): Promise<string> {
  const folder = temporaryFolder()
  const config = writeRun(
    folder,
    {
      ...settings,
      training: {
        max_steps: 20,
        eval_every: 8,
        save_every: 5,
        batch_size: 4,
        ...settings.training,
        steps_per_run,
      },
    },
    data,
  )
  const { code, stderr } = await graft(['train', config])
  expect(code, stderr).toBe(0)
  return folder
}

describe('several steps as one run are bit-equal to one by one', () => {
  it.each([
    ['lora with dropout', { method: { name: 'lora', r: 4, lora_dropout: 0.1 } }],
    ['gradients added up', { training: { gradient_accumulation: 3 } }],
    ['AdaLoRA, whose own state goes along', { method: adalora }],
    ['prefix tuning', { method: { name: 'prefix-tuning', num_virtual_tokens: 4 } }],
    ['SGD', { training: { optimizer: 'sgd', learning_rate: 0.1 } }],
  ] as [string, Settings][])('%s', async (_, settings) => {
    const [one, several] = [await trained(settings, null), await trained(settings, 6)]
    expect(losses(several)).toEqual(losses(one))
    expect(bytes(several)).toBe(bytes(one))
  })

  it('and resume where they were killed', async () => {
    const [whole, folder] = [await trained({}, 4), temporaryFolder()]
    const config = writeRun(
      folder,
      { training: { max_steps: 20, eval_every: 8, save_every: 5, batch_size: 4, steps_per_run: 4 } },
      data,
    )
    await graft(['train', config, '--json'], {
      onOutput: (text, child) => text.includes('"step":9,') && child.kill('SIGKILL'),
    })
    const { code, stderr } = await graft(['train', config, '--resume'])
    expect(code, stderr).toBe(0)
    expect(bytes(folder)).toBe(bytes(whole))
  })
})
