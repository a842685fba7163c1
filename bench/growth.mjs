// How cost grows with batch, length, layers, rank, adapters and data: node bench/growth.mjs [--write] [--only batch,rank]
// Each point is a process of its own. Prints a table; --write puts it and its pictures into docs/performance.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { parse, View } from 'vega'
import { compile } from 'vega-lite'
import { stringify } from 'yaml'
import { writeTinyLlama } from './tiny-llama.mjs'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    write: { type: 'boolean' },
    only: { type: 'string' },
    point: { type: 'string' },
    compile: { type: 'string' },
  },
})
const cli = join(root, 'packages/cli/bin/graft.js')
const models = join(tmpdir(), 'graft-growth')
const model = (layers = 8) => {
  const folder = join(models, `llama-${layers}`)
  if (!existsSync(join(folder, 'config.json'))) writeTinyLlama(folder, { layers })
  return folder
}
const run = (args) =>
  execFileSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
  })
const step = ({ layers, ...options }) => {
  const flat = Object.entries({ batch: 4, seq: 128, rank: 8, steps: 10, ...options }).flatMap(([key, v]) => [
    `--${key}`,
    `${v}`,
  ])
  const { step_s_median, peak_mb, predicted_peak_mb, compile_s } = JSON.parse(
    run([cli, 'bench', model(layers), '--targets', 'q_proj,v_proj', ...flat, '--json']),
  )
  return { seconds: step_s_median, mb: peak_mb, predicted_mb: predicted_peak_mb, compile_s }
}
/** Loads n adapters of one base beside each other and writes with each. */
const adapters = (n) => JSON.parse(run([import.meta.filename, '--point', `${n}`]))
/** Trains five steps on n records: what is measured is reading, encoding and keeping them. */
function records(n) {
  const folder = mkdtempSync(join(tmpdir(), 'graft-data-'))
  const example = join(root, 'examples/support-intents')
  const lines = readFileSync(join(example, 'train.jsonl'), 'utf8').trim().split('\n')
  writeFileSync(
    join(folder, 'train.jsonl'),
    Array.from({ length: n }, (_, i) => `${lines[i % lines.length]}\n`).join(''),
  )
  const config = {
    model: join(example, 'model/onnx/model.onnx'),
    data: { train: 'train.jsonl', validation: 0.001, max_length: 64 },
    method: 'lora',
    training: { max_steps: 5, batch_size: 32 },
    output: 'out',
  }
  writeFileSync(join(folder, 'config.yaml'), stringify(config))
  const started = performance.now()
  run([cli, 'train', join(folder, 'config.yaml'), '--json'])
  const log = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return { seconds: (performance.now() - started) / 1000, mb: Math.max(...log.map((l) => l.memory_mb ?? 0)) }
}

const curves = {
  batch: {
    title: 'examples per batch (of 128 tokens)',
    at: [1, 2, 4, 8, 16],
    of: (batch) => step({ batch }),
  },
  sequence: {
    title: 'tokens per example (batch 2)',
    at: [64, 128, 256, 512, 1024],
    of: (seq) => step({ seq, batch: 2, steps: 6 }),
  },
  layers: { title: 'layers', at: [4, 8, 16, 32, 64], of: (layers) => step({ layers, steps: 6 }) },
  rank: { title: 'rank', at: [1, 4, 16, 64, 256], of: (rank) => step({ rank }) },
  adapters: { title: 'adapters of one base, loaded side by side', at: [1, 10, 100, 500], of: adapters },
  compile: {
    title: 'layers, LoRA on all linear layers',
    at: [4, 8, 16, 32, 64, 128],
    of: (layers) => JSON.parse(run([import.meta.filename, '--compile', `${model(layers)}`])),
  },
  data: { title: 'examples in the training file', at: [1000, 10_000, 100_000, 400_000], of: records },
}
const seconds = {
  compile: 'seconds to compile',
  adapters: 'seconds per token',
  data: 'seconds to train 5 steps',
  default: 'seconds per step',
}

if (flags.compile) await compileOnce(flags.compile)
else if (flags.point) await point(Number(flags.point))
else await measure()

async function measure() {
  const folder = join(root, 'docs/performance')
  for (const [name, { title, at, of }] of Object.entries(curves).filter(
    ([n]) => !flags.only || flags.only.split(',').includes(n),
  )) {
    const points = at.map((x) => ({ x, ...of(x) }))
    const columns = Object.keys(points[0]).filter((c) => c !== 'x')
    console.log(
      `\n| ${title} | ${columns.map((c) => (c === 'seconds' ? (seconds[name] ?? seconds.default) : c.replace('_mb', ' MB').replace(/^mb$/, 'peak MB').replace('_s', ' s'))).join(' | ')} |\n|${' ---: |'.repeat(columns.length + 1)}`,
    )
    for (const p of points)
      console.log(
        `| ${p.x.toLocaleString('en-US')} | ${columns.map((c) => (c.includes('mb') || c === 'nodes' ? Math.round(p[c]).toLocaleString('en-US') : p[c].toPrecision(3))).join(' | ')} |`,
      )
    if (!flags.write) continue
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, `${name}.svg`), await picture(points, title, seconds[name] ?? seconds.default))
  }
}
async function picture(values, title, unit) {
  const panel = (field, text) => ({
    width: 260,
    height: 180,
    layer: [{ mark: 'line' }, { mark: { type: 'point', filled: true } }],
    encoding: {
      x: { field: 'x', type: 'quantitative', title, scale: { type: 'log', nice: false } },
      y: { field, type: 'quantitative', title: text },
    },
  })
  const spec = {
    background: '#fff',
    data: { values },
    hconcat: [panel('seconds', unit), panel('mb', 'peak memory (MB)')],
  }
  return new View(parse(compile(spec).spec), { renderer: 'none' }).toSVG()
}

async function point(count) {
  const { defaultRegistry, openAdapter, Writer, openModel } = await import('graft-peft')
  const registry = defaultRegistry()
  const base = join(root, 'examples/support-intents/model/onnx/model.onnx')
  const folder = mkdtempSync(join(tmpdir(), 'graft-adapters-'))
  writeFileSync(join(folder, 'train.jsonl'), '{"text": "one two three four"}\n'.repeat(8))
  writeFileSync(
    join(folder, 'config.yaml'),
    stringify({
      model: base,
      data: { train: 'train.jsonl', validation: 0 },
      method: 'lora',
      training: { max_steps: 1 },
      output: 'out',
    }),
  )
  run([cli, 'train', join(folder, 'config.yaml')])
  const writer = new Writer(
    openModel(base, { architectures: registry.all('architecture'), task: 'causal-lm', cache: true }),
  )
  for (let k = 0; k < count; k++)
    await writer.load(`a${k}`, await openAdapter(join(folder, 'out/adapter'), registry, base))
  const ids = writer.tokenizer.encode('Once upon a time')
  let [tokens, spent] = [0, 0]
  for (let k = 0; k < Math.min(count, 20); k++) {
    const writing = writer.write(ids, {
      adapter: `a${k}`,
      maxTokens: 16,
      stop: [],
      temperature: 0,
      topP: 1,
      topK: 0,
      seed: 0,
    })
    const started = performance.now()
    let last = await writing.next()
    while (!last.done) last = await writing.next()
    tokens += last.value.tokens
    spent += performance.now() - started
  }
  await writer.close()
  console.log(JSON.stringify({ seconds: spent / 1000 / tokens, mb: process.resourceUsage().maxRSS / 1024 }))
}

/** From an opened model to the bytes that ONNX Runtime gets. */
async function compileOnce(folder) {
  const { defaultRegistry, openModel } = await import('graft-peft')
  const { adamw, adapt, compileStep, methodOptions } = await import('@graft-peft/core/inside')
  const { encodeOnnx } = await import('@graft-peft/onnx')
  const registry = defaultRegistry()
  const started = performance.now()
  const base = openModel(folder, { architectures: registry.all('architecture'), task: 'causal-lm' })
  const method = registry.get('method', 'lora')
  const adapted = adapt(base, {
    method,
    methodOptions: methodOptions(method, { target_modules: 'all-linear' }),
    objective: registry.get('objective', 'causal-lm'),
    labels: 0,
    expectedRows: 512,
    totalSteps: 1,
    training: true,
  })
  const optimizer = adamw({ name: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0, momentum: 0 })
  const graph = compileStep(adapted, {
    optimizer,
    clip: 1,
    accumulate: false,
    keeping: { mode: 'balanced', sizes: { batch: 4, sequence: 128, supervised: 512 } },
  })
  const nodes = graph.nodes.size
  encodeOnnx(graph)
  console.log(
    JSON.stringify({
      seconds: (performance.now() - started) / 1000,
      mb: process.resourceUsage().maxRSS / 1024,
      nodes,
    }),
  )
}
