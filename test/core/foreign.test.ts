import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '@graft-peft/core/app'
import { expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { graft, sproutFolder, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'

const axolotl = {
  base_model: './base',
  load_in_4bit: true,
  adapter: 'qlora',
  datasets: [{ path: 'talk.jsonl', type: 'alpaca' }],
  val_set_size: 0.2,
  sequence_len: 64,
  lora_r: 4,
  lora_alpha: 12,
  lora_target_modules: ['q_proj'],
  lora_target_linear: true,
  peft_use_dora: true,
  micro_batch_size: 3,
  gradient_accumulation_steps: 2,
  num_epochs: 2,
  learning_rate: '3e-4',
  lr_scheduler: 'linear',
  optimizer: 'paged_adamw_8bit',
  bf16: false,
  warmup_ratio: 0.05,
  wandb_project: null,
  flash_attention: true,
}
const factory = {
  model_name_or_path: './base',
  finetuning_type: 'lora',
  stage: 'sft',
  lora_rank: 4,
  lora_target: 'q_proj,v_proj',
  use_rslora: true,
  dataset: 'talk.jsonl',
  cutoff_len: 48,
  per_device_train_batch_size: 5,
  num_train_epochs: 1.0,
  learning_rate: 1e-4,
  lr_scheduler_type: 'cosine_with_restarts',
  optim: 'adamw_torch',
  quantization_bit: 8,
  template: 'llama3',
}
/** What graft train says of a config, and the config that it prints. */
async function said(config: object): Promise<{ stderr: string; printed: Record<string, never> }> {
  const folder = temporaryFolder()
  const path = join(folder, 'theirs.yml')
  writeFileSync(path, stringify(config))
  const { code, stderr } = await graft(['train', path])
  expect(code).toBe(1)
  const yaml = stderr.slice(stderr.indexOf('\nmodel:'), stderr.indexOf('\nHas no counterpart'))
  return { stderr, printed: parse(yaml) }
}

it('a config of Axolotl: what it comes to here, and what it leaves', async () => {
  const { stderr, printed } = await said(axolotl)
  expect(stderr).toMatch(/Axolotl.*OTHER_TOOL/s)
  expect(printed).toEqual({
    model: './base',
    data: { train: 'talk.jsonl', validation: 0.2, max_length: 64 },
    method: { name: 'lora', r: 4, lora_alpha: 12, target_modules: 'all-linear', use_dora: true },
    training: {
      batch_size: 3,
      gradient_accumulation: 2,
      epochs: 2,
      learning_rate: 3e-4,
      schedule: 'linear',
      optimizer: 'adamw',
    },
    quantize: 'int4',
  })
  for (const key of ['warmup_ratio: 0.05', 'flash_attention: true']) expect(stderr).toContain(`  ${key} (`)
  expect(stderr).not.toMatch(/bf16|wandb/)
})
it('a config of LLaMA-Factory, the result of which is one here', async () => {
  const { stderr, printed } = await said(factory)
  expect(stderr).toMatch(/LLaMA-Factory/)
  for (const key of ['lr_scheduler_type', 'quantization_bit', 'template'])
    expect(stderr).toContain(`  ${key}: `)
  const folder = temporaryFolder()
  sproutFolder(join(folder, 'base'))
  writeFileSync(join(folder, 'talk.jsonl'), '{"text": "hello"}\n')
  writeFileSync(join(folder, 'ours.yaml'), stringify(printed))
  const config = await loadConfig(join(folder, 'ours.yaml'), registry)
  expect(config.methodOptions).toMatchObject({ r: 4, use_rslora: true, target_modules: ['q_proj', 'v_proj'] })
  expect(config.training).toMatchObject({ batch_size: 5, epochs: 1, learning_rate: 1e-4 })
  expect(config.data).toMatchObject({ max_length: 48, validation: 0 })
})
it('full fine-tuning has no options of LoRA, several files are not one, odd values are named', async () => {
  const { stderr, printed } = await said({
    ...factory,
    finetuning_type: 'full',
    dataset: 'one,two',
    num_train_epochs: {},
  })
  expect(printed).toMatchObject({ method: { name: 'full' }, data: { train: 'FILE' } })
  for (const text of ['dataset: "one,two"', 'num_train_epochs: {}', 'method.r: 4'])
    expect(stderr).toContain(text)
})

it.each([
  ['method.rank=4', 'Did you mean r?'],
  ['method.alpha=4', 'Did you mean lora_alpha?'],
  ['lr=1e-3', 'Did you mean training.learning_rate?'],
  ['training.lr=1e-3', 'Did you mean learning_rate?'],
  ['method.name=qlora', 'quantize: int4'],
  ['method.name=dora', 'use_dora: true'],
])('%s is answered with its name here', async (override, answer) => {
  const folder = temporaryFolder()
  const config = {
    model: './base',
    data: { train: 'talk.jsonl' },
    method: { name: 'lora', target_modules: ['q_proj'] },
  }
  writeFileSync(join(folder, 'config.yaml'), stringify(config))
  await expect(loadConfig(join(folder, 'config.yaml'), registry, [override])).rejects.toThrow(answer)
})
