import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Estimate } from '@graft-peft/core/app'
import { expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

/** GPT-3's shape: OPT-175B has it, and a config to say so. */
const gpt3 = {
  model_type: 'opt',
  architectures: ['OPTForCausalLM'],
  vocab_size: 50272,
  hidden_size: 12288,
  word_embed_proj_dim: 12288,
  num_hidden_layers: 96,
  num_attention_heads: 96,
  ffn_dim: 49152,
  max_position_embeddings: 2048,
  activation_function: 'relu',
  do_layer_norm_before: true,
  tie_word_embeddings: true,
  torch_dtype: 'float16',
}

it("gives the LoRA paper's arithmetic on GPT-3 175B from a config alone", async () => {
  const folder = join(temporaryFolder(), 'gpt3')
  mkdirSync(folder)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(gpt3))
  const { stdout, stderr, code } = await graft([
    'estimate',
    folder,
    '--config-only',
    '--rank',
    '4',
    '--targets',
    'q_proj,v_proj',
    '--batch',
    '1',
    '--seq',
    '2048',
    '--json',
  ])
  expect(code, stderr).toBe(0)
  const { parameters, methods } = JSON.parse(stdout) as Estimate
  const [lora, full] = methods
  expect(parameters).toBeGreaterThan(174e9)
  expect(lora.trainable).toBe(2 * 96 * 4 * (12288 + 12288))
  // About 10,000 times fewer; a checkpoint of 350 GB down to 35 MB; a third of the memory and less.
  expect(full.trainable / lora.trainable).toBeCloseTo(9251, -2)
  expect(2 * parameters).toBeCloseTo(349e9, -9)
  expect(lora.adapter / 2).toBeLessThan(38e6)
  expect(lora.atHalfPrecision / full.atHalfPrecision).toBeLessThan(1 / 3)
  for (const { memory } of methods) {
    expect(memory.low.peak).toBeLessThan(memory.balanced.peak)
    expect(memory.balanced.peak).toBeLessThan(memory.fast.peak)
    expect(memory.low.flops).toBeGreaterThan(memory.fast.flops)
  }
})

it('estimates a training config beside full fine-tuning, for people and for machines', async () => {
  const config = writeRun(temporaryFolder())
  const { stdout, code, stderr } = await graft(['estimate', config])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/trained parameters +[\d,]+ +[\d,]+/)
  expect(stdout).toMatch(/memory: low/)
  const { methods } = JSON.parse((await graft(['estimate', config, '--json'])).stdout) as Estimate
  expect(methods.map((m) => m.method)).toEqual(['lora', 'full'])
})
