import { type ChildProcess, spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { biasOf, copyOf, Random, storedFloats, type StoredTensor } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { writeSafetensors } from '@graft-peft/core/inside'
import { parse, stringify } from 'yaml'
import { afterAll } from 'vitest'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const example = join(root, 'examples/support-intents')
export const sprout = join(example, 'model/onnx/model.onnx')

/** Reference results of HF PEFT, which lie outside the repository; tests that need them say so and skip where they are absent. */
export const golden = join(root, '../shared/golden')
export const hasGolden = existsSync(golden)
if (!hasGolden)
  console.warn(`SKIPPED: reference results are not at ${golden}; parity with HF PEFT is not checked.`)

const folders: string[] = []
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-'))
  folders.push(folder)
  return folder
}
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** The embedded model as a Hugging Face folder: config.json, model.safetensors, tokenizer. */
export function sproutFolder(folder: string, changes: Record<string, unknown> = {}): string {
  const model = openModel(sprout)
  const tensors = new Map<string, StoredTensor>()
  for (const site of model.sites) {
    if (site.path === model.outputEmbedding?.path) continue
    for (const [name, slot] of [
      ['weight', site.weight],
      ['bias', biasOf(site)],
    ] as const)
      if (slot)
        tensors.set(`${site.path}.${name}`, storedFloats(copyOf(slot)(slot.shape, new Random(0)), slot.shape))
  }
  mkdirSync(folder, { recursive: true })
  writeSafetensors(join(folder, 'model.safetensors'), { tensors, metadata: { format: 'pt' } })
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    copyFileSync(join(example, 'model', name), join(folder, name))
  const config = JSON.parse(readFileSync(join(example, 'model/config.json'), 'utf8'))
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...changes }))
  return folder
}

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}
interface Running {
  input?: string
  /** variables beside those of this process */
  env?: Record<string, string>
  /** called once the process runs */
  onStart?: (child: ChildProcess) => void
  onOutput?: (text: string, child: ChildProcess) => void
}
/** Runs the command line as a user does. */
export function graft(
  args: readonly string[],
  { input, env, onStart, onOutput }: Running = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...args], {
      env: { ...process.env, ...env },
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (d) => {
      stdout += d
      onOutput?.(String(d), child)
    })
    child.stderr.on('data', (d) => (stderr += d))
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    child.stdin.end(input ?? '')
    onStart?.(child)
  })
}

export interface Settings {
  model?: string
  data?: Record<string, unknown>
  method?: unknown
  training?: Record<string, unknown>
  [key: string]: unknown
}
const questions = [
  'where is my parcel',
  'has it been sent',
  'my card was declined',
  'the payment failed',
  'I want to send it back',
  'how do I return this',
  'when do you open',
  'are you open today',
]
const answers = ['delivery', 'delivery', 'payment', 'payment', 'return', 'return', 'hours', 'hours']

/** Writes a small data file and a config for it; returns the config's path. Runs of it take a second or two. */
export function writeRun(
  folder: string,
  { data, method, training, ...rest }: Settings = {},
  lines?: readonly string[],
): string {
  const records =
    lines ??
    questions.flatMap((q, i) =>
      [1, 2, 3, 4].map((n) => JSON.stringify({ text: `${q}${', please'.repeat(n - 1)}`, label: answers[i] })),
    )
  writeFileSync(join(folder, 'train.jsonl'), `${records.join('\n')}\n`)
  const config = {
    model: sprout,
    data: { train: 'train.jsonl', validation: 0.25, max_length: 32, ...data },
    method: method ?? { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] },
    training: { epochs: 4, batch_size: 4, learning_rate: 1e-2, save_every: 3, ...training },
    output: 'out',
    ...rest,
  }
  const path = join(folder, 'config.yaml')
  writeFileSync(path, stringify(config))
  return path
}

/** The same for a comparison: `compare` as in the config, everything else as writeRun has it. */
export function writeComparison(
  folder: string,
  compare: Record<string, unknown>,
  settings: Settings = {},
): string {
  const path = writeRun(folder, {
    threads: 1,
    ...settings,
    compare: { exclude: ['base', 'full'], seeds: 1, ...compare },
  })
  const { method: _, ...config } = parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  writeFileSync(path, stringify(config))
  return path
}

/** A command's path, or undefined with a word on what is not tested then. */
export function found(command: string, what: string): string | undefined {
  const path = (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, command))
    .find((file) => existsSync(file))
  if (!path) console.warn(`SKIPPED: ${command} is not installed; ${what} is not checked.`)
  return path
}
