// Training steps of Graft and of HF PEFT on PyTorch, side by side on this machine: npm run bench:peft -- --help
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    shared: { type: 'string', default: join(root, '../shared') },
    only: { type: 'string' },
    repeat: { type: 'string', default: '2' },
    threads: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help) {
  console.log(`npm run bench:peft -- [--python PATH] [--shared DIR] [--only 1,4] [--repeat N] [--threads N] [--write]

Needs a Python with torch, transformers and peft, and bench/peft_step.py and make_model.py in the shared folder.
Each row runs on both sides in turn, N times; the ratio is of medians. --write puts the table into docs/performance.md.`)
  process.exit(0)
}

const qv = ['--targets', 'q_proj,v_proj']
/** A row: what is compared, Graft's own flags, PEFT's own flags, and what the two share. */
const rows = [
  {
    id: '1',
    what: 'LoRA r=8 on q, v; 4 × 128, all supervised',
    graft: qv,
    peft: qv,
    wanted: '≥ 2.3 ×, ≤ 0.5 ×',
  },
  {
    id: '2',
    what: 'the same, a quarter supervised',
    graft: [...qv, '--supervised', '0.25'],
    peft: [...qv, '--supervised', '0.25'],
    wanted: '≥ 3 ×, ≤ 0.45 ×',
  },
  {
    id: '2b',
    what: 'the same in two halves, gradients added up',
    graft: [...qv, '--supervised', '0.25', '--micro-batch', '2'],
    peft: [...qv, '--supervised', '0.25'],
    wanted: '≥ 3 ×, ≤ 0.45 ×',
  },
  {
    id: '3',
    what: 'memory: low, 4 × 512; PEFT with checkpointing',
    seq: 512,
    steps: 4,
    graft: [...qv, '--memory', 'low'],
    peft: [...qv, '--checkpointing'],
    wanted: '> 1 ×, ≤ 0.6 ×',
  },
  {
    id: '4a',
    what: 'AdaLoRA',
    method: 'adalora',
    graft: [...qv, ...options('init_r=12', 'target_r=8', 'tinit=2', 'tfinal=2', 'deltaT=2')],
    peft: qv,
  },
  {
    id: '4b',
    what: 'prefix tuning, 20 tokens',
    method: 'prefix-tuning',
    graft: options('num_virtual_tokens=20'),
    peft: [],
  },
  {
    id: '4c',
    what: 'prompt tuning, 20 tokens',
    method: 'prompt-tuning',
    graft: options('num_virtual_tokens=20'),
    peft: [],
  },
  {
    id: '4d',
    what: 'P-tuning, 20 tokens',
    method: 'p-tuning',
    graft: options('num_virtual_tokens=20', 'encoder_hidden_size=128'),
    peft: [],
  },
  {
    id: '4e',
    what: 'IA3 on q, v',
    method: 'ia3',
    graft: [...qv, ...options('feedforward_modules=[]')],
    peft: qv,
  },
  {
    id: '4f',
    what: 'DoRA r=8 on q, v',
    method: 'dora',
    graft: [...qv, ...options('use_dora=true')],
    peft: qv,
    graftMethod: 'lora',
  },
  { id: '4g', what: 'full fine-tuning', method: 'full', steps: 6, graft: [], peft: [] },
  {
    id: '5',
    what: '25M model, LoRA r=8 on q, v; 1 × 32',
    size: '25m',
    batch: 1,
    seq: 32,
    steps: 40,
    graft: qv,
    peft: qv,
    wanted: '> 1 ×',
  },
].map((row) => ({
  method: 'lora',
  size: '135m',
  batch: 4,
  seq: 128,
  steps: 10,
  wanted: '≥ 1.5 ×, ≤ 1 ×',
  ...row,
}))

function options(...pairs) {
  return pairs.flatMap((pair) => ['--option', pair])
}

const run = (command, args) => {
  const printed = execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 24,
  })
  return JSON.parse(printed.trim().split('\n').at(-1))
}

function model(size) {
  const folder = join(tmpdir(), `graft-bench-${size}`)
  if (!existsSync(join(folder, 'model/model.safetensors'))) {
    mkdirSync(folder, { recursive: true })
    execFileSync(
      flags.python,
      [join(flags.shared, 'bench/make_model.py'), folder, '--size', size, '--no-onnx'],
      { stdio: 'ignore' },
    )
  }
  return join(folder, 'model')
}

const both = ({ batch, seq, steps }) => [
  '--batch',
  `${batch}`,
  '--seq',
  `${seq}`,
  '--steps',
  `${steps}`,
  '--threads',
  flags.threads,
]
const sides = {
  graft: (row) =>
    run(process.execPath, [
      join(root, 'packages/cli/bin/graft.js'),
      'bench',
      model(row.size),
      '--method',
      row.graftMethod ?? row.method,
      ...both(row),
      ...row.graft,
      '--json',
    ]),
  peft: (row) =>
    run(flags.python, [
      join(flags.shared, 'bench/peft_step.py'),
      model(row.size),
      '--method',
      row.method,
      ...both(row),
      ...row.peft,
    ]),
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)]
function summary(runs) {
  return {
    min: Math.min(...runs.map((r) => r.step_s_min)),
    median: median(runs.map((r) => r.step_s_median)),
    peak: median(runs.map((r) => r.peak_mb)),
    last: runs.at(-1),
  }
}

const chosen = flags.only?.split(',')
const lines = [
  '| | what | Graft s/step | PEFT s/step | faster | (by fastest step) | Graft MB | PEFT MB | memory | predicted MB | wanted |',
  '|---|---|---|---|---|---|---|---|---|---|---|',
]
console.log(lines.join('\n'))
for (const row of rows.filter(({ id }) => !chosen || chosen.includes(id))) {
  const found = { graft: [], peft: [] }
  for (let k = 0; k < Number(flags.repeat); k++)
    for (const side of ['graft', 'peft']) found[side].push(sides[side](row))
  const [graft, peft] = [summary(found.graft), summary(found.peft)]
  if (graft.last.trainable !== peft.last.trainable)
    throw new Error(`${row.what}: Graft trains ${graft.last.trainable}, PEFT ${peft.last.trainable}`)
  const cells = [
    row.id,
    row.what,
    graft.median.toFixed(3),
    peft.median.toFixed(3),
    `**${(peft.median / graft.median).toFixed(2)} ×**`,
    `${(peft.min / graft.min).toFixed(2)} ×`,
    graft.peak,
    peft.peak,
    `**${(graft.peak / peft.peak).toFixed(2)} ×**`,
    graft.last.predicted_peak_mb,
    row.wanted,
  ]
  lines.push(`| ${cells.join(' | ')} |`)
  console.log(lines.at(-1))
}

const versions = execFileSync(
  flags.python,
  [
    '-c',
    'import torch, transformers, peft; print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")',
  ],
  {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  },
).trim()
const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores seen, ${flags.threads} threads used, ${Math.round(totalmem() / 2 ** 30)} GB; Node ${process.versions.node}, ${versions}`
console.log(`\n${machine}`)
if (flags.write) {
  const file = join(root, 'docs/performance.md')
  const text = readFileSync(file, 'utf8')
  const table = `<!-- peft -->\n\n${lines.join('\n')}\n\n${machine}.\n\n<!-- /peft -->`
  writeFileSync(file, text.replace(/<!-- peft -->[\s\S]*<!-- \/peft -->/, table))
}
