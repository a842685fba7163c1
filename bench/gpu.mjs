// Everything worth knowing on a GPU, in ten minutes, the most valuable first: node bench/gpu.mjs --help
import { execFile } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { profileOf, sum } from './gpu-profile.mjs'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string' },
    device: { type: 'string', default: 'cuda' },
    python: { type: 'string', default: 'python3' },
    golden: { type: 'string', default: join(root, 'test/golden') },
    minutes: { type: 'string', default: '10' },
    only: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help || !flags.out) {
  console.log(`node bench/gpu.mjs --out DIR [--device cuda] [--minutes 10] [--python PATH] [--golden DIR] [--only PART,...]

Writes DIR/results.jsonl as it goes, a line per part, and DIR/report.md from it. Each part stands alone: one that fails, or for which
no time is left, is named and the next begins. --device cpu runs the same parts on small models, to see that they run.
HF PEFT's side needs a Python with torch, transformers and peft.`)
  process.exit(flags.help ? 0 : 1)
}
const { device, out } = flags
const onCpu = device === 'cpu'
const ends = performance.now() + Number(flags.minutes) * 60_000
const secondsLeft = () => (ends - performance.now()) / 1000
mkdirSync(out, { recursive: true })
const results = join(out, 'results.jsonl')
rmSync(results, { force: true })

/** What a command prints; throws with the end of what it said. */
const run = (command, args, seconds) =>
  new Promise((done, fail) => {
    const timeout = 1000 * Math.min(seconds, secondsLeft())
    execFile(command, args, { timeout, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (!error) return done(stdout)
      fail(
        new Error(
          error.killed ? `no end after ${timeout / 1000} s` : `${stdout}${stderr}`.trim().slice(-600),
        ),
      )
    })
  })
const graft = (...args) => run(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...args], 240)
const lastLine = (text) => JSON.parse(text.trim().split('\n').at(-1))

/** LLaMA shapes; the smallest stands in where there is no card. */
const shapes = {
  tiny: { vocab_size: 2048, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 128 },
  '135m': { vocab_size: 49152, hidden_size: 576, num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3, intermediate_size: 1536 },
  '1b': { vocab_size: 128256, hidden_size: 2048, num_hidden_layers: 16, num_attention_heads: 32, num_key_value_heads: 8, intermediate_size: 8192 },
  '3b': { vocab_size: 128256, hidden_size: 3072, num_hidden_layers: 28, num_attention_heads: 24, num_key_value_heads: 8, intermediate_size: 8192 },
} // biome-ignore format: a table
async function model(size) {
  const shape = onCpu ? 'tiny' : size
  const folder = join(tmpdir(), `graft-gpu-${shape}`)
  if (!existsSync(join(folder, 'model.safetensors'))) {
    const config = { ...shapes[shape], max_position_embeddings: 4096, tie_word_embeddings: true }
    await run(flags.python, [join(root, 'bench/gpu_peft.py'), 'make', JSON.stringify(config), folder], 180)
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      copyFileSync(join(root, 'examples/support-intents/model', name), join(folder, name))
  }
  return folder
}

/** The card's memory in use while something runs, at its greatest; nothing without a card. */
async function watched(work) {
  let most = 0
  const look = () =>
    run('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], 5).then(
      (text) => (most = Math.max(most, Number(text))),
      () => {},
    )
  const before = onCpu ? 0 : await look().then(() => most)
  const timer = onCpu ? undefined : setInterval(look, 200)
  try {
    return { ...(await work()), ...(onCpu ? {} : { card_mb: most - before }) }
  } finally {
    clearInterval(timer)
  }
}

const all = 'q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj'
const optionsOf = {
  adalora: ['init_r=12', 'target_r=8', 'tinit=2', 'tfinal=2', 'deltaT=2'],
  'prefix-tuning': ['num_virtual_tokens=20'],
  'prompt-tuning': ['num_virtual_tokens=20'],
  ia3: ['feedforward_modules=[]'],
  dora: ['use_dora=true'],
}
const isPrompt = (method) => method.startsWith('pr')
async function ours(size, method, { batch, seq, steps, perRun = 1, profile, precision = 'bfloat16' }) {
  const targets = isPrompt(method) ? [] : ['--targets', all]
  const options = (optionsOf[method] ?? []).flatMap((pair) => ['--option', pair])
  const shape = ['--batch', batch, '--seq', seq, '--steps', steps, '--steps-per-run', perRun].map(String)
  const folder = await model(size)
  return watched(async () =>
    lastLine(
      await graft('bench', folder, '--method', method === 'dora' ? 'lora' : method, ...shape, ...targets, ...options,
        '--device', device, '--precision', precision, ...(profile ? ['--profile', profile] : []), '--json'),
    ),
  ) // biome-ignore format: one call
}
async function theirs(size, method, { batch, seq, steps }) {
  const options = { method, rank: 8, targets: all.split(','), batch, seq, steps, dtype: 'bfloat16' }
  return lastLine(
    await run(
      flags.python,
      [join(root, 'bench/gpu_peft.py'), 'time', await model(size), JSON.stringify(options)],
      240,
    ),
  )
}
async function beside(size, method, shape) {
  const found = { graft: await ours(size, method, shape), peft: await theirs(size, method, shape) }
  return { ...found, faster: found.peft.step_s_median / found.graft.step_s_median }
}

async function goldens(precision) {
  const folders = readdirSync(flags.golden).filter((name) =>
    existsSync(join(flags.golden, name, 'forward.safetensors')),
  )
  const cells = {}
  for (const name of folders) {
    const args = ['verify', join(flags.golden, name), '--device', device, '--precision', precision, '--json']
    const printed = await graft(...args).catch((error) => error.message)
    const reports = printed
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
    const failed = reports.filter((r) => r.status === 'failed')
    cells[name] = {
      passed: reports.filter((r) => r.status === 'passed').length,
      failed: failed.map((r) =>
        `${r.export} ${r.case}: ${r.reason ?? JSON.stringify(r.checks)}`.slice(0, 300),
      ),
      ...(reports.length === 0 ? { error: printed.slice(-300) } : {}),
    }
  }
  return cells
}

/** Where the time goes, and what ran elsewhere than on the card. */
async function profile(size, shape) {
  const prefix = join(tmpdir(), `graft-gpu-profile-${process.pid}`)
  await ours(size, 'lora', { ...shape, profile: prefix })
  const file = readdirSync(tmpdir()).find((name) => name.startsWith(`graft-gpu-profile-${process.pid}_`))
  const events = profileOf(JSON.parse(readFileSync(join(tmpdir(), file), 'utf8')))
  rmSync(join(tmpdir(), file))
  return {
    ms: sum(events, ({ op }) => op),
    providers: sum(events, (e) => e.provider),
    elsewhere: sum(
      events.filter((e) => !e.provider.startsWith(device.toUpperCase())),
      ({ op }) => op,
    ),
  }
}

async function machine() {
  const doctor = JSON.parse(await graft('doctor', '--json'))
  return { doctor, card: onCpu ? null : (await run('nvidia-smi', ['-L'], 10)).trim() }
}

/** The same 32 steps one by one, and sixteen in a run. */
async function stepsPerRun() {
  const wanted = { ...shape(), steps: 32 }
  return {
    1: await ours('135m', 'lora', wanted),
    16: await ours('135m', 'lora', { ...wanted, perRun: 16 }),
  }
}

const fits = { batch: 8, seq: 512, steps: 10 }
const small = { batch: 2, seq: 32, steps: 6 }
const shape = (wanted) => (onCpu ? small : { ...fits, ...wanted })
const others = ['dora', 'ia3', 'adalora', 'prefix-tuning', 'prompt-tuning']
/** What is run, in order of worth, with the least seconds that it is begun with. */
const parts = [
  ['machine', 5, machine],
  ['lora 135m', 30, () => beside('135m', 'lora', shape())],
  ['goldens float32', 30, () => goldens('float32')],
  ['placement and profile', 30, () => profile('135m', shape({ steps: 4 }))],
  ['steps per run', 30, stepsPerRun],
  ['lora 1b', 60, () => beside('1b', 'lora', shape({ batch: 4 }))],
  ['goldens bfloat16', 30, () => goldens('bfloat16')],
  ['lora 3b', 90, () => beside('3b', 'lora', shape({ batch: 2, steps: 6 }))],
  ...others.map((method) => [`${method} 135m`, 30, () => beside('135m', method, shape())]),
]

const chosen = flags.only?.split(',')
for (const [name, least, work] of parts) {
  if (chosen && !chosen.includes(name)) continue
  const started = performance.now()
  const line = { part: name }
  if (secondsLeft() < least) line.skipped = `${secondsLeft().toFixed(0)} s left`
  else
    try {
      line.result = await work()
    } catch (error) {
      line.failed = error.message
    }
  line.seconds = (performance.now() - started) / 1000
  appendFileSync(results, `${JSON.stringify(line)}\n`)
  writeFileSync(join(out, 'report.md'), report())
  console.log(
    `${name}: ${line.failed ? `failed: ${line.failed.split('\n').at(-1)}` : (line.skipped ?? 'done')}, ${line.seconds.toFixed(1)} s`,
  )
}

/** The results so far, for people. */
function report() {
  const lines = readFileSync(results, 'utf8').trim().split('\n')
  const found = lines.map((line) => JSON.parse(line))
  const rows = found.filter((l) => l.result?.peft).map(comparedRow)
  const rest = found.filter((l) => !l.result?.peft).map(section)
  return `# On ${device}

LoRA r=8 on all linear layers, bfloat16, unless the row says otherwise; memory is the card's.

| | Graft | HF PEFT | faster |
| --- | --- | --- | --- |
${rows.join('\n')}

${rest.join('\n')}`
}
function comparedRow({ part, result: { graft, peft, faster } }) {
  const seconds = ({ step_s_median: s, card_mb: mb }) => `${s.toFixed(4)} s${mb ? `, ${mb} MB` : ''}`
  return `| ${part} | ${seconds(graft)} | ${seconds(peft)} | ${faster.toFixed(2)} × |`
}
function section({ part, result, failed, skipped }) {
  return `## ${part}\n\n\`\`\`\n${failed ?? skipped ?? JSON.stringify(result, null, 1)}\n\`\`\`\n`
}
