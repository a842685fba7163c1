import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { int64, type StoredTensor, storedFloats } from '@graft-peft/core'
import { readSafetensors, runOnce, writeSafetensors } from '@graft-peft/core/inside'
import { readOnnx } from '@graft-peft/onnx'
import { example, graft, temporaryFolder, writeRun } from '../fixture.js'

let folder: string
let adapter: string
const method = {
  name: 'lora',
  r: 4,
  target_modules: ['q_proj', 'k_proj', 'down_proj'],
  rank_pattern: { 'layers.0.mlp.down_proj': 2 },
  bias: 'none',
}

beforeAll(async () => {
  folder = temporaryFolder()
  const { code, stderr } = await graft(['train', writeRun(folder, { method, training: { epochs: 12 } })])
  expect(code, stderr).toBe(0)
  adapter = join(folder, 'out/adapter')
})

describe('a trained adapter', () => {
  it("lies in HF PEFT's two files, by HF's names and shapes", () => {
    const { tensors } = readSafetensors(join(adapter, 'adapter_model.safetensors'))
    expect(tensors.get('base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight')?.shape).toEqual([
      4, 192,
    ])
    expect(tensors.get('base_model.model.model.layers.0.mlp.down_proj.lora_B.weight')?.shape).toEqual([
      192, 2,
    ])
    expect(tensors.get('base_model.model.score.weight')?.shape).toEqual([4, 192])
    expect(JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'))).toMatchObject({
      peft_type: 'LORA',
      task_type: 'SEQ_CLS',
      r: 4,
      target_modules: ['q_proj', 'k_proj', 'down_proj'],
    })
  })

  it('predicts its training questions, from a pipe and into a file', async () => {
    const asked = '{"text":"where is my parcel","id":1}\n{"text":"are you open today","id":2}\n'
    const { stdout, code } = await graft(['predict', adapter, '-'], { input: asked })
    expect(code).toBe(0)
    const rows = stdout
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l))
    expect(rows.map((r) => [r.id, r.prediction])).toEqual([
      [1, 'delivery'],
      [2, 'hours'],
    ])
    for (const { score } of rows) expect(score).toBeGreaterThan(0.25)
    const file = join(folder, 'predictions.jsonl')
    expect((await graft(['predict', adapter, '-', '--output', file], { input: asked })).code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(stdout)
  })

  it('merges into a plain model that gives the same logits', async () => {
    const output = join(folder, 'merged')
    const { stdout, code, stderr } = await graft(['merge', adapter, output, '--json'])
    expect(code, stderr).toBe(0)
    const report = JSON.parse(stdout)
    expect(report.weights).toBe(18)
    expect(report.difference).toBeLessThan(1e-4)
    const [logits] = Object.values(
      await runOnce(readOnnx(join(output, 'model.onnx')), {
        input_ids: int64([5, 6, 7, 0], [1, 4]),
        attention_mask: int64([1, 1, 1, 0], [1, 4]),
      }),
    )
    expect(logits.shape).toEqual([1, 4])
    expect(Object.values(JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')).id2label)).toEqual([
      'delivery',
      'hours',
      'payment',
      'return',
    ])
  })

  it('merged, can be fine-tuned again: module paths survive', async () => {
    const output = join(folder, 'again')
    await graft(['merge', adapter, output])
    const { stdout } = await graft(['inspect', output, '--json'])
    const paths = JSON.parse(stdout).sites.map((s: { path: string }) => s.path)
    expect(paths).toContain('model.layers.5.mlp.down_proj')
  })

  it('is refused for another base, tensor by tensor', async () => {
    const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'))
    expect(config.rank_pattern).toEqual({ 'layers.0.mlp.down_proj': 2 })
    const other = join(folder, 'other')
    cpSync(adapter, other, { recursive: true })
    writeFileSync(join(other, 'adapter_config.json'), JSON.stringify({ ...config, r: 8 }))
    const { code, stderr } = await graft(['predict', other, '-'], { input: '{"text":"x"}\n' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/lora_A\.weight is \[4, 192\], expected \[8, 192\]/)
  })

  describe('with a file that is not right: one paragraph naming file and key', () => {
    const weights = (at: string) => join(at, 'adapter_model.safetensors')
    const key = 'base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight'
    const spoilt = async (
      name: string,
      spoil: (tensors: Map<string, StoredTensor>) => void,
    ): Promise<string> => {
      const other = join(folder, name)
      cpSync(adapter, other, { recursive: true })
      const { tensors, metadata } = readSafetensors(weights(other))
      spoil(tensors)
      writeSafetensors(weights(other), { tensors, metadata })
      const { code, stderr } = await graft(['predict', other, '-'], { input: '{"text":"x"}\n' })
      expect(code).toBe(1)
      expect(stderr.trim().split('\n')).toHaveLength(1)
      expect(stderr).toContain(weights(other))
      return stderr
    }
    it('missing', async () =>
      expect(await spoilt('missing', (t) => t.delete(key))).toContain(`${key} is missing`))
    it('surplus', async () =>
      expect(
        await spoilt('surplus', (t) =>
          t.set('base_model.model.nowhere', storedFloats(Float32Array.of(1), [1])),
        ),
      ).toContain('base_model.model.nowhere belongs to no module'))
    it('mis-shaped', async () =>
      expect(await spoilt('shape', (t) => t.set(key, storedFloats(new Float32Array(4), [2, 2])))).toContain(
        `${key} is [2, 2], expected [4, 192]`,
      ))
    it('of another base model with the same shapes', async () => {
      const other = join(folder, 'base')
      cpSync(join(example, 'model'), other, { recursive: true })
      const onnx = join(other, 'onnx/model.onnx')
      const data = existsSync(`${onnx}.data`) ? `${onnx}.data` : onnx
      const bytes = readFileSync(data)
      const table = readOnnx(onnx)
        .constants()
        .find((v) => v.name.endsWith('lm_head.weight'))?.data
      bytes.writeFloatLE(0.5, table && 'offset' in table ? table.offset + 8 : 0)
      writeFileSync(data, bytes)
      const { code, stderr } = await graft(['predict', adapter, '-', '--model', other], {
        input: '{"text":"x"}\n',
      })
      expect(code).toBe(1)
      expect(stderr).toMatch(/was trained on .*whose weights differ.*OTHER_BASE/s)
    })
  })

  it('accumulating two batches of four equals one batch of eight', async () => {
    const run = async (batch_size: number, gradient_accumulation: number) => {
      const at = temporaryFolder()
      const lines = Array.from({ length: 8 }, (_, i) =>
        JSON.stringify({ text: `question ${'so '.repeat(i)}`, label: i % 2 ? 'odd' : 'even' }),
      )
      const path = writeRun(
        at,
        {
          data: { validation: 0 },
          training: {
            batch_size,
            gradient_accumulation,
            epochs: 1,
            max_steps: 3,
            save_every: 1,
            schedule: 'constant',
            learning_rate: 1e-3,
          },
        },
        lines,
      )
      expect((await graft(['train', path])).code).toBe(0)
      return readFileSync(join(at, 'out/log.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l))
        .filter((e) => e.gradient_norm !== undefined)
    }
    const [whole, parts] = [await run(8, 1), await run(4, 2)]
    expect(whole).toHaveLength(3)
    for (const [i, step] of whole.entries()) {
      expect(parts[i].loss).toBeCloseTo(step.loss, 5)
      expect(parts[i].gradient_norm / step.gradient_norm).toBeCloseTo(1, 4)
    }
  })
})
