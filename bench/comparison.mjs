// The comparisons of docs/comparison.md, from start to pictures: node bench/comparison.mjs --help
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Random, readRecords } from 'graft-peft'
import { stringify } from 'yaml'
import { alphabets, drawGlyphs } from './glyphs.mjs'
import { writeTinyVit } from './tiny-vit.mjs'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    shared: { type: 'string', default: join(root, '../shared') },
    out: { type: 'string', default: join(root, 'out/comparison') },
    only: { type: 'string' },
    help: { type: 'boolean' },
  },
})
if (flags.help) {
  console.log(`node bench/comparison.mjs [--shared DIR] [--out DIR] [--only banking,little,rare,rephrased,vision]

Needs models/sprout-3m and data/ of the shared folder (vision needs neither). Pictures go to docs/comparison/. Goes on where it was stopped.`)
  process.exit(0)
}
const out = resolve(flags.out)
const graft = (...args) =>
  execFileSync(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })

const everywhere = { r: 16, lora_alpha: 32, target_modules: 'all-linear' }
const lora = { name: 'lora', ...everywhere }
const methods = [
  lora,
  { ...lora, label: 'dora', use_dora: true },
  {
    name: 'adalora',
    init_r: 24,
    target_r: 16,
    lora_alpha: 32,
    target_modules: 'all-linear',
    tinit: 200,
    tfinal: 600,
    deltaT: 10,
    orth_reg_weight: 0.1,
  },
  'ia3',
  { name: 'prefix-tuning', num_virtual_tokens: 20 },
  { name: 'prompt-tuning', num_virtual_tokens: 20 },
  { name: 'p-tuning', num_virtual_tokens: 20, encoder_hidden_size: 192 },
]
const banking = join(flags.shared, 'data/banking77')
const questions = (train, test, compare, training = {}) => ({
  model: resolve(flags.shared, 'models/sprout-3m'),
  objective: 'sequence-classification',
  data: { train, validation: 0.1, test, columns: { label: 'category' }, max_length: 96 },
  training: { epochs: 6, batch_size: 32, schedule: 'cosine', warmup_steps: 20, save_every: 200, ...training },
  threads: 1,
  compare: { seeds: 3, ...compare },
})
/** Writes a comparison's config, runs it, and takes its pictures into the documentation. */
function compare(name, config) {
  const folder = join(out, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'compare.yaml'), stringify({ ...config, output: 'out' }))
  console.log(graft('compare', join(folder, 'compare.yaml')))
  for (const picture of readdirSync(join(folder, 'out/charts')))
    cpSync(join(folder, 'out/charts', picture), join(root, 'docs/comparison', `${name}-${picture}`))
  const report = readFileSync(join(folder, 'out/report.md'), 'utf8').replaceAll('(charts/', `(${name}-`)
  writeFileSync(join(root, 'docs/comparison', `${name}.md`), report)
}
async function records(file) {
  const found = []
  for await (const { fields } of readRecords(file)) found.push(fields)
  return found
}
function jsonLines(path, list) {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, list.map((r) => `${JSON.stringify(r)}\n`).join(''))
  return path
}

/** As many examples of each intent as `limit` says. */
function few(list, limit, random) {
  const taken = new Map()
  return random.shuffle([...list]).filter(({ category }) => {
    const n = (taken.get(category) ?? 0) + 1
    taken.set(category, n)
    return n <= limit(category)
  })
}
/** The same question put differently: said around, shouted, without punctuation. */
const rephrasings = [
  (q) => `Hi there, I have a question for you: ${q}`,
  (q) => `${q} Could someone please help me with this? Thanks in advance.`,
  (q) => `I am a customer of yours and would like to know the following. ${q}`,
  (q) => q.toUpperCase(),
  (q) => q.toLowerCase().replace(/[^\w\s]/g, ''),
  (q) => `Please answer this as soon as you can! ${q} It is urgent.`,
]

const experiments = {
  banking: () =>
    compare(
      'banking',
      questions(join(banking, 'train.csv'), join(banking, 'test.csv'), {
        methods,
        forgetting: resolve(flags.shared, 'data/gsm8k/test.jsonl'),
      }),
    ),
  /** Ten examples of every intent. */
  async little() {
    const train = jsonLines(
      join(out, 'data/little.jsonl'),
      few(await records(join(banking, 'train.csv')), () => 10, new Random(1, 'little')),
    )
    compare(
      'little',
      questions(train, join(banking, 'test.csv'), { methods: [lora], exclude: ['base'] }, { epochs: 30 }),
    )
  },
  /** Five examples of twenty intents and all of the others; tested on the twenty. */
  async rare() {
    const all = await records(join(banking, 'train.csv'))
    const names = new Set(
      new Random(2, 'rare').shuffle([...new Set(all.map((r) => r.category))].sort()).slice(0, 20),
    )
    const train = jsonLines(
      join(out, 'data/rare.jsonl'),
      few(all, (c) => (names.has(c) ? 5 : Number.POSITIVE_INFINITY), new Random(3, 'rare')),
    )
    const test = jsonLines(
      join(out, 'data/rare-test.jsonl'),
      (await records(join(banking, 'test.csv'))).filter((r) => names.has(r.category)),
    )
    compare('rare', questions(train, test, { methods: [lora], exclude: ['base'] }))
  },
  /** The adapters of `banking`, asked the test questions put differently. */
  async rephrased() {
    const random = new Random(4, 'rephrased')
    const test = (await records(join(banking, 'test.csv'))).map((r) => ({
      ...r,
      text: rephrasings[random.below(rephrasings.length)](r.text),
    }))
    const file = jsonLines(join(out, 'data/rephrased.jsonl'), test)
    const runs = join(out, 'banking/out/runs')
    for (const run of readdirSync(runs).filter((r) => /^(lora|full)-/.test(r))) {
      const answers = graft('predict', join(runs, run, 'out/adapter'), file)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      console.log(
        `${run}: ${((100 * answers.filter((a) => a.prediction === a.category).length) / answers.length).toFixed(2)} % of the rephrased questions`,
      )
    }
  },
  /** A tiny ViT that has learnt letters learns digits from thirty examples each. */
  async vision() {
    const folder = join(out, 'vision')
    const uniform = (name) => {
      const random = new Random(5, name)
      return () => random.uniform(0, 1)
    }
    if (!existsSync(join(folder, 'base'))) {
      await drawGlyphs(join(folder, 'letters'), alphabets.letters, 400, 28, uniform('letters'))
      await drawGlyphs(join(folder, 'train'), alphabets.digits, 30, 28, uniform('digits'))
      await drawGlyphs(join(folder, 'test'), alphabets.digits, 100, 28, uniform('test'))
      writeTinyVit(join(folder, 'random'))
      const pretraining = {
        model: 'random',
        data: { train: 'letters', validation: 0.1 },
        method: 'full',
        training: { epochs: 15, batch_size: 32, learning_rate: 1e-3, warmup_steps: 50 },
        output: 'pretraining',
      }
      writeFileSync(join(folder, 'pretraining.yaml'), stringify(pretraining))
      console.log(graft('train', join(folder, 'pretraining.yaml'), '--overwrite'))
      graft('merge', join(folder, 'pretraining/adapter'), join(folder, 'base'))
    }
    compare('vision', {
      model: 'base',
      data: { train: 'train', validation: 0.2, test: 'test' },
      training: { epochs: 40, batch_size: 16, warmup_steps: 10 },
      threads: 1,
      compare: {
        seeds: 3,
        methods: [{ name: 'lora', r: 8, lora_alpha: 16, target_modules: 'all-linear' }, 'bitfit'],
      },
    })
  },
}
mkdirSync(join(root, 'docs/comparison'), { recursive: true })
for (const name of flags.only?.split(',') ?? Object.keys(experiments)) await experiments[name]()
