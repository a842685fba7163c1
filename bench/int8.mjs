// precision: int8 beside float32, and HF PEFT in float32 and bfloat16, on this machine: node bench/int8.mjs --help
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    shared: { type: 'string', default: join(root, '../shared') },
    only: { type: 'string' },
    repeat: { type: 'string', default: '2' },
    steps: { type: 'string' },
    threads: { type: 'string', default: '2' },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help) {
  console.log(`node bench/int8.mjs [--python PATH] [--shared DIR] [--only 1,3a] [--repeat N] [--steps N] [--threads N]

Needs a Python with torch, transformers and peft, and bench/peft_step.py and make_model.py in the shared folder.
Each row runs all sides in turn, N times, after one untimed run of int8 that fills the cache; ratios are of medians. Rows: ${'1 1b 2 2q 3a-3g 5 6 6b'}.`)
  process.exit(0)
}

const qv = ['--targets', 'q_proj,v_proj']
const allLinear = 'q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj'
const large = ['--rank', '16', '--targets', allLinear]
const option = (...pairs) => pairs.flatMap((pair) => ['--option', pair])
const quarter = ['--supervised', '0.25']
/** A row: Graft's own flags, PEFT's own, the sides that run, what is wanted. */
const rows = [
  { id: '1', what: 'LoRA r=8 on q, v; 4 × 128', graft: qv, peft: qv, wanted: '≥ 4.5 × float32, ≥ 2.2 × bfloat16; memory ≤ 0.4, ≤ 0.6' },
  { id: '1b', what: 'the same, a quarter supervised', graft: [...qv, ...quarter], peft: [...qv, ...quarter], wanted: '≥ 5 ×, ≥ 2.5 ×' },
  { id: '2', what: '1B, LoRA r=16 on all linear layers; 1 × 256', size: '1b', batch: 1, seq: 256, steps: 4, graft: large, peft: large, sides: ['int8', 'peft bfloat16'], wanted: '≥ 1.6 × bfloat16, memory ≤ 0.8' },
  { id: '2q', what: 'the same, the base in 4 bits', size: '1b', batch: 1, seq: 256, steps: 4, graft: [...large, '--quantize', 'int4'], peft: large, sides: ['int8', 'peft bfloat16'], wanted: 'memory ≤ 0.4' },
  { id: '3a', what: 'AdaLoRA', method: 'adalora', graft: [...qv, ...option('init_r=12', 'target_r=8', 'tinit=2', 'tfinal=2', 'deltaT=2')], peft: qv },
  { id: '3b', what: 'prefix tuning, 20 tokens', method: 'prefix-tuning', graft: option('num_virtual_tokens=20'), peft: [] },
  { id: '3c', what: 'prompt tuning, 20 tokens', method: 'prompt-tuning', graft: option('num_virtual_tokens=20'), peft: [] },
  { id: '3d', what: 'P-tuning, 20 tokens', method: 'p-tuning', graft: option('num_virtual_tokens=20', 'encoder_hidden_size=128'), peft: [] },
  { id: '3e', what: 'IA3 on q, v', method: 'ia3', graft: [...qv, ...option('feedforward_modules=[]')], peft: qv },
  { id: '3f', what: 'DoRA r=8 on q, v', method: 'dora', graftMethod: 'lora', graft: [...qv, ...option('use_dora=true')], peft: qv },
  { id: '3g', what: 'full fine-tuning', method: 'full', steps: 6, graft: [], peft: [], wanted: 'as float32' },
  { id: '5', what: '25M model, LoRA r=8 on q, v; 1 × 32', size: '25m', batch: 1, seq: 32, steps: 40, graft: qv, peft: qv, wanted: 'no slower than float32' },
].map((row) => ({
  method: 'lora',
  size: '135m',
  batch: 4,
  seq: 128,
  steps: 10,
  sides: ['float32', 'int8', 'peft float32', 'peft bfloat16'],
  wanted: '≥ 1.6 × Graft in float32',
  ...row,
})) // biome-ignore format: a table

const run = (command, args) => {
  const printed = execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 24,
  })
  return JSON.parse(printed.trim().split('\n').at(-1))
}
const graft = (args) => run(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...args, '--json'])

/** A model of random weights, with the example's tokenizer so that it can write. */
function model(size) {
  const folder = join(tmpdir(), `graft-bench-${size}`)
  const made = join(folder, 'model')
  if (!existsSync(join(made, 'model.safetensors'))) {
    mkdirSync(folder, { recursive: true })
    const args =
      size === '1b'
        ? ['-c', oneBillion, made]
        : [join(flags.shared, 'bench/make_model.py'), folder, '--size', size, '--no-onnx']
    execFileSync(flags.python, args, { stdio: 'ignore' })
  }
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(root, 'examples/support-intents/model', name), join(made, name))
  return made
}
const oneBillion = `
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0); torch.set_default_dtype(torch.bfloat16)
config = LlamaConfig(vocab_size=128256, hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
                     intermediate_size=8192, max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=500000.)
LlamaForCausalLM(config).save_pretrained(sys.argv[1], max_shard_size='10GB')
`

const shared = ({ batch, seq, steps }) =>
  ['--batch', batch, '--seq', seq, '--steps', flags.steps ?? steps, '--threads', flags.threads].map(String)
const onGraft = (precision) => (row) =>
  graft([
    'bench',
    model(row.size),
    '--method',
    row.graftMethod ?? row.method,
    ...shared(row),
    ...row.graft,
    '--precision',
    precision,
  ])
const onPeft = (dtype) => (row) =>
  run(flags.python, [
    join(flags.shared, 'bench/peft_step.py'),
    model(row.size),
    '--method',
    row.method,
    ...shared(row),
    ...row.peft,
    '--dtype',
    dtype,
  ])
const sides = {
  float32: onGraft('float32'),
  int8: onGraft('int8'),
  'peft float32': onPeft('float32'),
  'peft bfloat16': onPeft('bfloat16'),
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)]
const chosen = flags.only?.split(',')
const isChosen = ({ id }) => !chosen || chosen.includes(id)
const heads = ['', 'what', 'Graft float32', 'int8', 'PEFT float32', 'bfloat16', 'int8 faster than']
console.log(`| ${[...heads, 'its memory', 'wanted'].join(' | ')} |\n|${'---|'.repeat(9)}`)
for (const row of rows.filter(isChosen)) {
  // AdaLoRA needs a few steps between the two ends of its schedule.
  sides.int8({ ...row, steps: 6 })
  const found = Object.fromEntries(row.sides.map((side) => [side, []]))
  for (let k = 0; k < Number(flags.repeat); k++)
    for (const side of row.sides) found[side].push(sides[side](row))
  const seconds = (side) => found[side] && median(found[side].map((r) => r.step_s_median))
  const peak = (side) => found[side] && median(found[side].map((r) => r.peak_mb))
  const cell = (side) => (found[side] ? `${seconds(side).toFixed(3)} s, ${peak(side)} MB` : '–')
  const others = row.sides.filter((side) => side !== 'int8')
  const faster = others.map((side) => `${(seconds(side) / seconds('int8')).toFixed(2)} × ${side}`)
  const smaller = others.map((side) => `${(peak('int8') / peak(side)).toFixed(2)} × ${side}`)
  const predicted = found.int8.at(-1).predicted_peak_mb
  const memory = `${smaller.join(', ')}; predicted ${predicted} MB`
  const cells = [row.id, row.what, ...Object.keys(sides).map(cell), faster.join(', '), memory, row.wanted]
  console.log(`| ${cells.join(' | ')} |`)
}

/** Tokens per second of one greedy text, the first token apart. */
const writing = `
import sys, time, json, torch
from transformers import AutoModelForCausalLM
torch.set_num_threads(int(sys.argv[2])); count = int(sys.argv[3])
m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16); ids = torch.arange(3, 35)[None]
def timed(n):
    start = time.perf_counter(); m.generate(ids, do_sample=False, min_new_tokens=n, max_new_tokens=n, pad_token_id=0); return time.perf_counter() - start
timed(2); first = timed(1); print(json.dumps(dict(rate=(count - 1) / (timed(count) - first))))
`
const prompt = 'where is my parcel and when will it arrive here '.repeat(3)
const tokens = 32
function rate(size, precision) {
  const written = graft([
    'generate',
    model(size),
    '--prompt',
    prompt,
    '--max-tokens',
    `${tokens}`,
    '--threads',
    flags.threads,
    '--precision',
    precision,
  ])
  return (written.tokens - 1) / written.seconds.writing
}
for (const { id, size } of [
  { id: '6', size: '135m' },
  { id: '6b', size: '1b' },
].filter(isChosen)) {
  rate(size, 'int8')
  const found = { int8: [], float32: [], transformers: [] }
  for (let k = 0; k < Number(flags.repeat); k++) {
    for (const precision of ['int8', 'float32']) found[precision].push(rate(size, precision))
    found.transformers.push(run(flags.python, ['-c', writing, model(size), flags.threads, `${tokens}`]).rate)
  }
  const [int8, float32, bfloat16] = Object.values(found).map(median)
  const rates = Object.entries({ int8, float32, 'transformers in bfloat16': bfloat16 })
  const said = rates.map(([side, tokens]) => `${side} ${tokens.toFixed(1)}`).join(', ')
  const times = (int8 / bfloat16).toFixed(2)
  console.log(`${id}: tokens/s of ${size}, one sequence: ${said}: ${times} × (wanted ≥ 3 ×)`)
}
