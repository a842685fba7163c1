import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LinearSite, type Model, type NormSite, Random } from '@graft-peft/core'
import { type MemoryMode, type Precision } from '@graft-peft/core/app'
import {
  adamw,
  compileEvaluation,
  compileGradient,
  numbers,
  runOnce,
  Step,
  surveyRounding,
} from '@graft-peft/core/inside'
import { type Node, packsFreely, type Value } from '@graft-peft/onnx'
import { beforeAll, describe, expect, it } from 'vitest'
import { graft, type Settings, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'
import { attach, attachingOf, feedsOf, openTiny as open, texts } from '../tiny.js'

beforeAll(() => {
  process.env.GRAFT_CACHE = temporaryFolder()
})

const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i], 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}
const isInteger = (n: Node) => n.op === 'com.microsoft::MatMulIntegerToFloat'
const isWide = (v: Value | null) =>
  v?.data !== undefined && v.dtype !== 'int8' && (v.shape?.length ?? 0) === 2
const products: ReadonlySet<string> = new Set(['MatMul', 'Gemm', 'com.microsoft::FusedMatMul'])

interface Case {
  folder: string
  method: string
  options: Record<string, unknown>
}
const cases: Case[] = [
  { folder: 'llama', method: 'lora', options: { target_modules: 'all-linear', r: 2 } },
  { folder: 'llama', method: 'lora', options: { use_dora: true, r: 2 } },
  { folder: 'llama', method: 'prefix-tuning', options: { num_virtual_tokens: 3 } },
  { folder: 'llama', method: 'oft', options: { oft_block_size: 4 } },
  { folder: 'llama-bfloat16', method: 'lora', options: { r: 2 } },
  { folder: 'gpt2', method: 'lora', options: { r: 2 } },
  { folder: 'bloom', method: 'ia3', options: {} },
  { folder: 'gemma2', method: 'adalora', options: { init_r: 4, total_step: 5 } },
]
async function gradient({ folder, method, options }: Case, precision: Precision, mode?: MemoryMode) {
  const model = open(folder)
  const adapted = attach(model, method, options, { precision })
  const keeping = mode && { mode, sizes: { batch: 2, sequence: 8, supervised: 12 } }
  const graph = compileGradient(adapted, keeping)
  const nodes = [...graph.nodes]
  const outputs = await runOnce(graph, feedsOf(model, adapted))
  return { nodes, loss: numbers(outputs.loss)[0], d: outputs.gradient.data as Float32Array }
}

describe('products with the frozen base in 8-bit integers', () => {
  it.each(cases)('$folder, $method $options: the gradients of float32 but for rounding', async (tuned) => {
    const [wide, narrow] = [await gradient(tuned, 'float32'), await gradient(tuned, 'int8')]
    expect(narrow.nodes.filter(isInteger).length).toBeGreaterThan(10)
    expect(Math.abs(narrow.loss - wide.loss)).toBeLessThan(5e-3)
    expect(cosine(wide.d, narrow.d)).toBeGreaterThan(0.999)
    expect(narrow.d).not.toEqual(wide.d)
  })

  it('no product reads a frozen weight as floats, forward, backward or in the head; values read by several are rounded once', async () => {
    const { nodes } = await gradient(cases[0], 'int8')
    const wide = nodes.filter((n) => products.has(n.op) && n.inputs.some(isWide))
    expect(wide).toEqual([])
    expect(nodes.some((n) => isInteger(n) && /\bbackward$/.test(n.scope))).toBe(true)
    expect(nodes.some((n) => isInteger(n) && n.scope === '')).toBe(true)
    const attention = nodes.filter((n) => isInteger(n) && /\.0\.self_attn\.[qkv]_proj$/.test(n.scope))
    expect(attention.length).toBe(3)
    expect(new Set(attention.map((n) => n.inputs[0])).size).toBe(1)
  })
  it('a weight that is trained stays as it is', async () => {
    const full = await gradient({ folder: 'gpt2', method: 'full', options: {} }, 'int8')
    expect(full.nodes.some(isInteger)).toBe(false)
  })
  it.each(['balanced', 'low'] as const)('memory: %s changes no bit', async (mode) => {
    const [all, less] = [await gradient(cases[0], 'int8'), await gradient(cases[0], 'int8', mode)]
    expect(less.nodes.filter(isInteger).length).toBeGreaterThanOrEqual(all.nodes.filter(isInteger).length)
    expect(less.d).toEqual(all.d)
  })
  it("rows' scales are multiplied with one by one where the next rounding can't take them up, and only there", async () => {
    const { nodes } = await gradient({ folder: 'gemma2', method: 'lora', options: { r: 2 } }, 'int8')
    const scaled = (layer: string, backward: boolean) =>
      nodes
        .filter(
          (n) =>
            isInteger(n) && n.scope.includes(`.0.mlp.${layer}`) && n.scope.endsWith('/backward') === backward,
        )
        .map((n) => [...(n.outputs[0] as Value).users].some((user) => user.inputs[1]?.shape?.at(-1) === 1))
    expect(scaled('gate_proj', false)).toEqual([true])
    expect(scaled('up_proj', false)).toEqual([false])
    expect(scaled('down_proj', false)).toEqual([true])
    expect(scaled('down_proj', true)).toEqual([false])
  })
  it('matrices of integers are packed where their copies take their places: not if all are read again, nor in float32', () => {
    const packed = (precision: Precision, mode?: MemoryMode) => {
      const adapted = attach(open('llama'), 'lora', { r: 2 }, { precision })
      const keeping = mode && { mode, sizes: { batch: 2, sequence: 8, supervised: 12 } }
      return packsFreely(compileGradient(adapted, keeping))
    }
    expect(packed('int8')).toBe(true)
    expect(packed('int8', 'low')).toBe(false)
    expect(packed('float32')).toBe(false)
  })
  it('with 7 bits of activations, as processors without VNNI need, the gradients are still those of float32', async () => {
    const { folder, method, options } = cases[0]
    const model = open(folder)
    const integers = { levels: 63, wide: new Set<string>(), smoothing: new Map<string, Float32Array>() }
    const adapted = attach(model, method, options, { precision: 'int8', integers })
    const outputs = await runOnce(compileGradient(adapted), feedsOf(model, adapted))
    const { d } = await gradient(cases[0], 'float32')
    expect(cosine(outputs.gradient.data as Float32Array, d)).toBeGreaterThan(0.998)
  })
  it('an evaluation computes with the same weights', async () => {
    const model = open('llama')
    const adapted = attach(model, 'lora', { r: 2 }, { precision: 'int8', training: false })
    const { loss_sum } = await runOnce(compileEvaluation(adapted), feedsOf(model, adapted))
    const { loss } = await gradient({ folder: 'llama', method: 'lora', options: { r: 2 } }, 'int8')
    expect(numbers(loss_sum)[0] / 12).toBeCloseTo(loss, 4)
  })
})

describe('what rounding does is looked at first', () => {
  const stepOf = (model: Model) => {
    const attaching = attachingOf('lora', { target_modules: 'all-linear', r: 2 })
    return Step.of(
      model,
      { ...attaching, precision: 'int8' },
      { optimizer: adamw(), clip: 0, accumulate: false, memory: 'balanced', sample: texts, pad: 0 },
    )
  }
  const random = new Random(1, 'planted')
  const rowsOf = (
    slot: { shape: readonly number[]; set(v: Float32Array): void },
    at: (r: number, c: number) => number,
  ) => {
    const [rows, columns] = slot.shape
    slot.set(
      Float32Array.from({ length: rows * columns }, (_, i) => at(Math.floor(i / columns), i % columns)),
    )
  }
  const find = (model: Model, path: string) => model.sites.find((s) => s.path === path) as LinearSite

  it('a model without outliers is rounded whole, and each error is known', async () => {
    const { plan, errors } = await surveyRounding(stepOf(open('llama')), {})
    expect(plan.wide.size).toBe(0)
    expect(Object.keys(errors).length).toBeGreaterThan(20)
    expect(Math.max(...Object.values(errors))).toBeLessThan(0.05)
    expect(Math.min(...Object.values(errors))).toBeGreaterThan(1e-4)
  })
  it('columns of activations far greater than the others are smoothed away', async () => {
    const model = open('llama')
    const norm = model.norms.find((s) => s.path === 'model.layers.1.input_layernorm') as NormSite
    norm.weight.set(
      norm.weight
        .reader()()
        ?.map((v, i) => (i === 5 ? 40 * v : v)) as Float32Array,
    )
    for (const name of ['q', 'k', 'v']) {
      const { weight } = find(model, `model.layers.1.self_attn.${name}_proj`)
      rowsOf(weight, (_, c) => (c === 5 ? 0.001 : 0.1) * random.normal())
    }
    const { plan, errors } = await surveyRounding(stepOf(model), {})
    const of = <T>(all: Iterable<[string, T]>, layer: string) =>
      [...all].find(
        ([name]) => name.startsWith(`model.layers.1.self_attn.${layer}_proj`) && !name.includes('back'),
      )?.[1]
    expect(of(plan.smoothing, 'q')).toBeDefined()
    expect(of(plan.smoothing, 'q')).toBe(of(plan.smoothing, 'v'))
    expect(of(Object.entries(errors), 'q')).toBeLessThan(0.02)
    expect(plan.wide.size).toBe(0)
  })
  it('a layer that smoothing does not help stays in float32, it alone', async () => {
    const model = open('llama')
    // Each token has two great coordinates of its own, which the matrix subtracts from each other.
    const { weight: table } = model.embeddings[0]
    const half = table.shape[1] / 2
    rowsOf(table, (token, c) => random.normal() + (c % half === token % half ? 100 : 0))
    const { weight } = find(model, 'model.layers.0.self_attn.q_proj')
    rowsOf(weight, (r, c) => (c < half ? 1 : -1) * Math.sin(1 + 31 * r + 17 * (c % half)))
    const { plan, errors } = await surveyRounding(stepOf(model), {})
    const [name, ...others] = plan.wide
    expect(name).toMatch(/^model.layers.0.self_attn.q_proj.weight/)
    expect(others).toEqual([])
    expect(errors[name]).toBeGreaterThan(0.05)
    const adapted = attach(model, 'lora', { r: 2 }, { precision: 'int8', integers: plan })
    const nodes = [...compileGradient(adapted).nodes]
    const kept = nodes.filter((n) => products.has(n.op) && n.inputs.some(isWide))
    expect(kept.map((n) => n.scope)).toEqual(['model.layers.0.self_attn.q_proj'])
  })
})

describe('precision: int8 in a config', () => {
  const method = { name: 'lora', r: 4, target_modules: 'all-linear' }
  const trained = async (settings: Settings, killed = false) => {
    const folder = temporaryFolder()
    const config = writeRun(folder, {
      method,
      precision: 'int8',
      ...settings,
      training: { max_steps: 12, eval_every: 6, save_every: 3, learning_rate: 2e-3, ...settings.training },
    })
    if (killed)
      await graft(['train', config, '--json'], {
        onOutput: (text, child) => text.includes('"step":7,') && child.kill('SIGKILL'),
      })
    const { code, stderr } = await graft(['train', config, ...(killed ? ['--resume'] : [])])
    expect(code, stderr).toBe(0)
    const adapter = join(folder, 'out/adapter')
    const read = (name: string) => readFileSync(join(adapter, name))
    const log = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const losses = log.flatMap((l) => (l.gradient_norm === undefined ? [] : [l.loss as number]))
    return {
      folder: adapter,
      log,
      losses,
      bytes: read('adapter_model.safetensors').toString('base64'),
      manifest: JSON.parse(String(read('graft.json'))),
    }
  }

  it('resumes to the bit where it was killed, and is the same in steps of one run', async () => {
    const [whole, killed, looped] = [
      await trained({}),
      await trained({}, true),
      await trained({ training: { steps_per_run: 3 } }),
    ]
    expect(killed.bytes).toBe(whole.bytes)
    expect(looped.bytes).toBe(whole.bytes)
    expect(whole.manifest).toMatchObject({ precision: 'int8', integers: { float32: [] } })
    const [first] = whole.log
    expect(first).toMatchObject({ step: 0, phase: 'rounding', float32: [] })
    expect(Object.keys(first.errors as object).length).toBeGreaterThan(40)
    const records = join(whole.folder, 'records.jsonl')
    writeFileSync(records, '{"text": "where is my parcel"}\n')
    const { code, stdout, stderr } = await graft(['predict', whole.folder, records])
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout).prediction).toBe('delivery')
  })
  it.each([
    [
      'a folder, what frozen layers make kept on disk',
      { cache: 'frozen-prefix', method: { ...method, layers_to_transform: [4, 5] } },
    ],
    [
      'gradients of several batches added up, little kept',
      { memory: 'low', training: { gradient_accumulation: 2 } },
    ],
  ])('%s: goes the way of float32', async (_, settings) => {
    const model = sproutFolder(join(temporaryFolder(), 'model'))
    const objective = 'sequence-classification'
    const [narrow, wide] = [
      await trained({ model, objective, ...settings }),
      await trained({ model, objective, ...settings, precision: 'float32' }),
    ]
    narrow.losses.forEach((loss, i) => expect(Math.abs(loss - wide.losses[i])).toBeLessThan(0.05))
    expect(narrow.losses).not.toEqual(wide.losses)
  })
  it('is refused on a device without such products', async () => {
    const { code, stderr } = await graft([
      'train',
      writeRun(temporaryFolder(), { precision: 'int8', device: 'webgpu' }),
    ])
    expect(code).not.toBe(0)
    expect(stderr).toContain('precision: int8 is for processors')
  })
})
