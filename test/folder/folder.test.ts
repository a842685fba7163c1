import { join } from 'node:path'
import { type Model, int64 } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { readSafetensors, runOnce } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Finished, graft, root, sprout, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const architectures = defaultRegistry().all('architecture')
const open = (path: string, options = {}): Model => openModel(path, { architectures, ...options })
let folder: string
let base: string
beforeAll(() => {
  folder = temporaryFolder()
  base = sproutFolder(join(folder, 'base'))
})

const ids = [1, 50, 60, 70, 80, 90]
const feeds = (list = ids) => ({
  input_ids: int64(list, [1, list.length]),
  attention_mask: int64(
    list.map(() => 1),
    [1, list.length],
  ),
  position_ids: int64([...list.keys()], [1, list.length]),
})
const logits = async (model: Model) =>
  (await runOnce(model.graph, feeds()))[model.logits.name].data as Float32Array
const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((v, i) => Math.abs(v - b[i])))
const ok = ({ code, stderr }: Finished) => expect(code, stderr).toBe(0)

describe('a Hugging Face folder', () => {
  it('gives the logits of its ONNX export', async () => {
    expect(apart(await logits(open(base)), await logits(open(sprout)))).toBeLessThan(1e-5)
  })
  it('names modules as its ONNX export does', () => {
    const paths = (m: Model) => new Set(m.sites.map((s) => `${s.kind} ${s.path} ${s.weight.shape}`))
    expect(paths(open(base))).toEqual(paths(open(sprout)))
  })
  it('trains to what its ONNX export trains to, and each reads the other’s adapter', async () => {
    const run = async (name: string, model: string) => {
      const at = temporaryFolder()
      ok(await graft(['train', writeRun(at, { model, training: { max_steps: 6 } }), '--overwrite']))
      const tensors = readSafetensors(join(at, 'out/adapter/adapter_model.safetensors')).tensors
      return {
        name,
        adapter: join(at, 'out/adapter'),
        tensors,
        lora: [...tensors].filter(([key]) => key.includes('lora')),
      }
    }
    const [one, other] = [await run('onnx', sprout), await run('folder', base)]
    expect([...one.tensors.keys()].sort()).toEqual([...other.tensors.keys()].sort())
    const answer = async (adapter: string, model: string) =>
      (await graft(['predict', adapter, '-', '--model', model], { input: '{"text":"where is my parcel"}\n' }))
        .stdout
    expect(JSON.parse(await answer(one.adapter, base)).prediction).toBeTypeOf('string')
    expect(JSON.parse(await answer(one.adapter, base)).score).toBeCloseTo(
      JSON.parse(await answer(one.adapter, sprout)).score,
      4,
    )
    expect(JSON.parse(await answer(other.adapter, base)).score).toBeCloseTo(
      JSON.parse(await answer(other.adapter, sprout)).score,
      4,
    )
  })
  it('trains a prefix for a classifier that reads the last token', async () => {
    const at = temporaryFolder()
    const config = writeRun(at, {
      model: base,
      objective: 'sequence-classification',
      method: { name: 'prefix-tuning', num_virtual_tokens: 12 },
      training: { max_steps: 3 },
    })
    ok(await graft(['train', config]))
  })
  it('opens half-precision weights as they lie, none expanded', () => {
    const model = open(join(root, 'test/golden/architectures/llama-bfloat16/model'))
    const stored = model.graph.constants().filter((v) => v.data && 'file' in v.data)
    expect(stored.length).toBeGreaterThan(10)
    expect(new Set(stored.map((v) => v.dtype))).toEqual(new Set(['bfloat16']))
  })
  it('reads shards', () => {
    const model = open(join(root, 'test/golden/architectures/llama-float16-sharded/model'))
    expect(
      new Set(model.graph.constants().flatMap((v) => (v.data && 'file' in v.data ? [v.data.file] : []))).size,
    ).toBeGreaterThan(1)
  })
  it('inspect lists architecture, sites and what methods would train', async () => {
    const result = await graft(['inspect', base, '--json'])
    ok(result)
    const report = JSON.parse(result.stdout)
    expect(report.architecture).toBe('llama')
    expect(report.methods.find((m: { name: string }) => m.name === 'lora').trainable).toBeGreaterThan(1000)
    expect(report.sites.some((s: { path: string }) => s.path === 'model.layers.0.self_attn.q_proj')).toBe(
      true,
    )
  })
})
