// Every built-in method on one classification task: trained parameters, step time, peak memory, loss before and after.
//   node bench/methods.mjs MODEL TRAIN.csv [LABEL_COLUMN] [STEPS] [method …]
// Each method runs in a process of its own with the learning rate it suggests. Prints a Markdown table.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { defaultRegistry } from 'graft-peft'

const [model, data, label = 'label', steps = '200', ...only] = process.argv.slice(2)
const cli = fileURLToPath(new URL('../packages/cli/bin/graft.js', import.meta.url))
/** Options that a method has no sensible default for here. */
const options = {
  lora: { target_modules: 'all-linear', lora_alpha: 16 },
  adalora: {
    target_modules: 'all-linear',
    init_r: 12,
    target_r: 8,
    lora_alpha: 32,
    tinit: 30,
    tfinal: 60,
    deltaT: 5,
    orth_reg_weight: 0.1,
  },
  trainable_tokens: { token_indices: Array.from({ length: 64 }, (_, i) => i + 300) },
  shira: { r: 8 },
  c3a: { block_size: 64 },
  vblora: { vector_length: 64 },
  cpt: { cpt_token_ids: [5, 9, 3, 8] },
  psoft: { r: 16, psoft_alpha: 16 },
  adamss: { r: 64 },
  'prompt-tuning': { num_virtual_tokens: 20 },
}
const extra = {
  dora: { name: 'lora', use_dora: true, ...options.lora },
  pissa: { name: 'lora', init_lora_weights: 'pissa', ...options.lora },
  eva: { name: 'lora', init_lora_weights: 'eva', ...options.lora },
}

const methods = defaultRegistry().all('method')
const runs = [
  ...methods.map((m) => [m.name, { name: m.name, ...options[m.name] }]),
  ...Object.entries(extra),
].filter(([name]) => only.length === 0 || only.includes(name))
console.log(
  `| method | trained | s/step | peak MB | loss before | after ${steps} steps | accuracy after |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |`,
)
for (const [name, method] of runs) {
  const folder = mkdtempSync(join(tmpdir(), 'graft-methods-'))
  const rate = methods.find((m) => m.name === method.name)?.learningRate ?? 1e-3
  const config = {
    model: resolve(model),
    data: { train: resolve(data), validation: 0.05, max_length: 96, columns: { label } },
    method,
    training: {
      max_steps: Number(steps),
      batch_size: 32,
      learning_rate: rate,
      warmup_steps: 20,
      eval_every: Number(steps),
    },
    output: 'out',
  }
  writeFileSync(join(folder, 'config.yaml'), stringify(config))
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [cli, 'train', join(folder, 'config.yaml'), '--json'],
    { encoding: 'utf8', maxBuffer: 2 ** 28 },
  )
  if (status !== 0) {
    console.log(`| ${name} | failed: ${stderr.trim().split('\n').at(-1)} |`)
    continue
  }
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const log = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const times = log
    .filter((e) => e.seconds)
    .map((e) => e.seconds)
    .sort((a, b) => a - b)
  const end = events.at(-1)
  const cells = [
    events.find((e) => e.event === 'start').trainable.toLocaleString('en-US'),
    times[Math.floor(times.length / 2)].toFixed(3),
    Math.max(...log.map((e) => e.memory_mb ?? 0)),
    end.before.validation.loss.toFixed(3),
    end.after.validation.loss.toFixed(3),
    `${(100 * end.after.validation.accuracy).toFixed(1)} %`,
  ]
  console.log(`| ${name} | ${cells.join(' | ')} |`)
}
