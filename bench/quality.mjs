// What precision: int8 does to what is learnt, beside float32: node bench/quality.mjs --help
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    shared: { type: 'string', default: join(root, '../shared') },
    out: { type: 'string', default: join(root, 'out/quality') },
    encoder: { type: 'string' },
    only: { type: 'string' },
    help: { type: 'boolean' },
  },
})
if (flags.help) {
  console.log(`node bench/quality.mjs [--shared DIR] [--out DIR] [--encoder DIR] [--only banking,encoder,gsm8k]

Needs models/sprout-3m and data/ of the shared folder; --encoder names a folder of all-MiniLM-L6-v2. Goes on where it was stopped.`)
  process.exit(0)
}

const everywhere = { target_modules: 'all-linear', r: 16, lora_alpha: 32 }
/** Each method's options; AdaLoRA's budget falls between the shares of the run that are given. */
const methods = (steps) => ({
  lora: { name: 'lora', ...everywhere },
  adalora: {
    name: 'adalora',
    target_modules: 'all-linear',
    init_r: 24,
    target_r: 16,
    lora_alpha: 32,
    tinit: Math.round(steps * 0.2),
    tfinal: Math.round(steps * 0.4),
    deltaT: 10,
  },
  ia3: { name: 'ia3' },
  'prefix-tuning': { name: 'prefix-tuning', num_virtual_tokens: 20 },
  dora: { name: 'lora', use_dora: true, ...everywhere },
})
/** Both precisions of each method, side by side. */
const entries = (steps) =>
  Object.entries(methods(steps)).flatMap(([name, entry]) =>
    ['float32', 'int8'].map((precision) => ({ ...entry, label: `${name}, ${precision}`, precision })),
  )

const banking = join(resolve(flags.shared), 'data/banking77')
const gsm8k = join(resolve(flags.shared), 'data/gsm8k')
const sprout = join(resolve(flags.shared), 'models/sprout-3m')
const questions = (model, epochs) => ({
  model,
  objective: 'sequence-classification',
  data: {
    train: join(banking, 'train.csv'),
    validation: 0.1,
    test: join(banking, 'test.csv'),
    columns: { label: 'category' },
    max_length: 96,
  },
  training: { epochs, batch_size: 32, schedule: 'cosine', warmup_steps: 20 },
  compare: { methods: entries(281 * epochs), seeds: 3 },
})
const experiments = {
  banking: () => questions(sprout, 3),
  encoder: () => questions(resolve(flags.encoder), 1),
  gsm8k: () => ({
    model: sprout,
    objective: 'causal-lm',
    data: {
      train: join(gsm8k, 'train.jsonl'),
      validation: 0.1,
      test: join(gsm8k, 'test.jsonl'),
      columns: { prompt: 'question', completion: 'answer' },
      max_length: 256,
    },
    training: { batch_size: 16, schedule: 'cosine', warmup_steps: 20 },
    compare: { methods: entries(200), seeds: [0], budget: { steps: 200 } },
  }),
}
const chosen = flags.only?.split(',') ?? Object.keys(experiments)
for (const name of chosen) {
  const folder = join(resolve(flags.out), name)
  mkdirSync(folder, { recursive: true })
  const config = { ...experiments[name](), threads: 1, output: 'out' }
  config.compare.exclude = ['base', 'full']
  writeFileSync(join(folder, 'compare.yaml'), stringify(config))
  execFileSync(
    process.execPath,
    [join(root, 'packages/cli/bin/graft.js'), 'compare', join(folder, 'compare.yaml')],
    {
      stdio: 'inherit',
    },
  )
  console.log(readFileSync(join(folder, 'out/report.md'), 'utf8'))
}
