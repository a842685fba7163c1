import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { float32, type Tensors } from '@graft-peft/core'
import { type Precision } from '@graft-peft/core/app'
import { adamw, compileGradient, compileStep, next, numbers, runOnce } from '@graft-peft/core/inside'
import { type Node, type Value } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { graft, type Settings, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'
import { attach, feedsOf, openTiny as open } from '../tiny.js'

const products: ReadonlySet<string> = new Set(['MatMul', 'Gemm', 'com.microsoft::FusedMatMul', 'Conv'])

const cases: [string, string, Record<string, unknown>][] = [
  ['llama', 'lora', { target_modules: 'all-linear', r: 2 }],
  ['llama', 'lora', { use_dora: true, r: 2 }],
  ['llama', 'prefix-tuning', { num_virtual_tokens: 3 }],
  ['llama', 'oft', { oft_block_size: 4 }],
  ['gpt2', 'full', {}],
  ['bloom', 'ia3', {}],
  ['gemma2', 'lora', { r: 2 }],
]

describe('in half precision', () => {
  for (const precision of ['float16', 'bfloat16'] as const)
    it.each(cases)(
      `${precision}: %s, %s has the gradients of float32 but for rounding`,
      async (folder, name, options) => {
        const gradient = async (p: Precision) => {
          const model = open(folder)
          const adapted = attach(model, name, options, { precision: p })
          const outputs = await runOnce(compileGradient(adapted), feedsOf(model, adapted))
          return { loss: numbers(outputs.loss)[0], d: outputs.gradient.data as Float32Array }
        }
        const [wide, half] = [await gradient('float32'), await gradient(precision)]
        const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0)
        const cosine = dot(wide.d, half.d) / Math.sqrt(dot(wide.d, wide.d) * dot(half.d, half.d))
        expect(Math.abs(half.loss - wide.loss)).toBeLessThan(precision === 'float16' ? 2e-3 : 2e-2)
        expect(cosine).toBeGreaterThan(precision === 'float16' ? 0.9999 : 0.998)
        expect(half.d).not.toEqual(wide.d)
      },
    )

  it('products of activations are, and norms, soft-max, the loss and the update are not', () => {
    const adapted = attach(
      open('llama'),
      'lora',
      { target_modules: 'all-linear', r: 2 },
      { precision: 'float16' },
    )
    const nodes = [...compileStep(adapted, { optimizer, clip: 1, accumulate: false, scaled: true }).nodes]
    const types = (wanted: (n: Node) => boolean) =>
      new Set(nodes.filter(wanted).map((n) => n.outputs[0]?.dtype))
    expect(types((n) => products.has(n.op))).toEqual(new Set(['float16']))
    expect(types((n) => /Softmax|LayerNormalization|ReduceLogSumExp|ReduceMean|Sqrt/.test(n.op))).toEqual(
      new Set(['float32']),
    )
  })

  it('what is computed of weights alone keeps its precision', () => {
    const nodes = [
      ...compileGradient(attach(open('llama'), 'oft', { oft_block_size: 4 }, { precision: 'float16' })).nodes,
    ]
    const ofWeights = nodes.filter((n) => products.has(n.op) && n.outputs[0]?.dtype === 'float32')
    expect(ofWeights.length).toBeGreaterThan(0)
  })

  it('a weight stored in it is read as it lies', () => {
    const nodes = [
      ...compileGradient(attach(open('llama-bfloat16'), 'lora', { r: 2 }, { precision: 'bfloat16' })).nodes,
    ]
    const stored = (v: Value | null) => v?.data !== undefined && 'file' in v.data
    expect(nodes.filter((n) => products.has(n.op) && n.inputs.some(stored)).length).toBeGreaterThan(10)
    expect(
      nodes.filter((n) => n.op === 'Cast' && stored(n.inputs[0]) && (n.inputs[0]?.shape?.length ?? 0) > 1),
    ).toEqual([])
  })
})

const optimizer = adamw({ name: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0, momentum: 0 })

describe('the loss is scaled in the graph', () => {
  async function step(
    scaling: readonly [number, number],
    { accumulate = false, apply = true, precision = 'float16' as Precision } = {},
  ) {
    const model = open('llama')
    const adapted = attach(model, 'lora', { r: 2 }, { precision })
    const zeros = () => float32(new Float32Array(adapted.variables.total))
    const feeds: Tensors = {
      ...feedsOf(model, adapted),
      first_moment: zeros(),
      second_moment: zeros(),
      gradient_sum: zeros(),
      apply: { dtype: 'bool' as const, shape: [], data: Uint8Array.of(Number(apply)) },
      scalars: float32(optimizer.scalars(1, 1e-3)),
      scaling: float32(scaling),
    }
    const graph = compileStep(adapted, { optimizer, clip: 1, accumulate, scaled: precision === 'float16' })
    return { before: feeds.parameters.data, ...(await runOnce(graph, feeds)) } as unknown as Tensors & {
      before: Float32Array
    }
  }
  const vector = (t: Tensors, name: string): number[] => numbers(t[next(name)])

  it('which changes nothing but what would vanish', async () => {
    const [scaled, wide] = [await step([2 ** 10, 0]), await step([1, 0], { precision: 'float32' })]
    expect(numbers(scaled.gradient_norm)[0]).toBeCloseTo(numbers(wide.gradient_norm)[0], 3)
    expect(numbers(scaled.loss_scale)[0]).toBe(2 ** 10)
    expect(vector(scaled, 'scaling')).toEqual([2 ** 10, 1])
    expect(wide.loss_scale).toBeUndefined()
  })
  it('a step that overflows changes nothing and halves the scale', async () => {
    const found = await step([2 ** 40, 7])
    expect(numbers(found.gradient_norm)[0]).toBe(0)
    expect(Number.isFinite(numbers(found.loss)[0])).toBe(true)
    expect(vector(found, 'parameters')).toEqual([...found.before])
    expect(vector(found, 'first_moment').every((v) => v === 0)).toBe(true)
    expect(vector(found, 'second_moment').every((v) => v === 0)).toBe(true)
    expect(vector(found, 'scaling')).toEqual([2 ** 39, 0])
  })
  it('after 2,000 steps that do not, it doubles, up to 2²⁴', async () => {
    expect(vector(await step([2 ** 10, 1999]), 'scaling')).toEqual([2 ** 11, 0])
    expect(vector(await step([2 ** 10, 1998]), 'scaling')).toEqual([2 ** 10, 1999])
  })
  it('stays between the runs of an accumulated batch; an overflow is forgotten with the batch', async () => {
    const between = await step([2 ** 10, 5], { accumulate: true, apply: false })
    expect(vector(between, 'scaling')).toEqual([2 ** 10, 5])
    expect(vector(between, 'parameters')).toEqual([...between.before])
    const overflown = await step([2 ** 40, 5], { accumulate: true })
    expect(vector(overflown, 'scaling')).toEqual([2 ** 39, 0])
    expect(vector(overflown, 'gradient_sum').every((v) => v === 0)).toBe(true)
  })
})

describe('precision: in a config', () => {
  const trained = async (settings: Settings & { precision?: Precision }, killed = false) => {
    const folder = temporaryFolder()
    const config = writeRun(folder, {
      ...settings,
      training: { max_steps: 12, eval_every: 6, save_every: 3, ...settings.training },
    })
    if (killed)
      await graft(['train', config, '--json'], {
        onOutput: (text, child) => text.includes('"step":7,') && child.kill('SIGKILL'),
      })
    const { code, stderr } = await graft(['train', config, ...(killed ? ['--resume'] : [])])
    expect(code, stderr).toBe(0)
    const lines = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((l) => l.gradient_norm !== undefined)
    return {
      lines,
      adapter: readFileSync(join(folder, 'out/adapter/adapter_model.safetensors')).toString('base64'),
    }
  }

  it('float16 resumes to the bit where it was killed, and is the same in steps of one run', async () => {
    const [whole, killed, looped] = [
      await trained({ precision: 'float16' }),
      await trained({ precision: 'float16' }, true),
      await trained({ precision: 'float16', training: { steps_per_run: 3 } }),
    ]
    expect(whole.lines.map((l) => l.loss_scale)).toEqual(Array(12).fill(65536))
    expect(killed.adapter).toBe(whole.adapter)
    expect(looped.adapter).toBe(whole.adapter)
  })
  it('bfloat16 with what frozen layers make kept on disk goes the way of float32', async () => {
    const method = { name: 'lora', r: 4, target_modules: ['q_proj'], layers_to_transform: [4, 5] }
    const settings = {
      model: sproutFolder(join(temporaryFolder(), 'model')),
      objective: 'sequence-classification',
      method,
      cache: 'frozen-prefix' as const,
    }
    const [half, wide] = [await trained({ ...settings, precision: 'bfloat16' }), await trained(settings)]
    half.lines.forEach((l, i) => expect(Math.abs(l.loss - wide.lines[i].loss)).toBeLessThan(0.03))
    expect(half.lines[0].loss_scale).toBeUndefined()
  })
})
