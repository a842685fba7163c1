import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { int64 } from '@graft-peft/core'
import { exportAdapter, exportTraining, loadConfig, openModel } from '@graft-peft/core/app'
import { readSafetensors, runOnce } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { graft, root, temporaryFolder, writeRun } from '../fixture.js'

import { adapters, base, lines, open, registry, trainFirst } from './trained.js'

trainFirst()
const architectures = registry.all('architecture')
const greatest = (v: Float32Array) => v.reduce((m, x) => Math.max(m, Math.abs(x)), 0)

describe('exports', () => {
  const ort = createRequire(join(root, 'packages/core/package.json'))('onnxruntime-node')
  it('an adapter as ONNX Runtime keeps them, and a model that is the base without it', async () => {
    const out = join(temporaryFolder(), 'out')
    const { model, adapter, parameters } = exportAdapter(await open(adapters.lora), out)
    const bytes = readFileSync(adapter)
    expect(bytes.subarray(4, 8).toString()).toBe('TORT')
    expect(bytes.length).toBeGreaterThan(4 * parameters)
    const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 })
    const ids = [1, 5, 9, 77]
    const feeds = {
      input_ids: int64(ids, [1, 4]),
      attention_mask: int64([1, 1, 1, 1], [1, 4]),
      position_ids: int64([0, 1, 2, 3], [1, 4]),
    }
    const run = await session.run(
      Object.fromEntries(
        Object.entries(feeds).map(([name, t]) => [name, new ort.Tensor(t.dtype, t.data, t.shape)]),
      ),
    )
    const bare = await runOnce(openModel(base, { architectures }).graph, feeds)
    expect(
      greatest((run.logits.data as Float32Array).map((v, i) => v - (bare.logits.data as Float32Array)[i])),
    ).toBeLessThan(1e-5)
  })
  it.each([{}, { device: 'webgpu' }, { precision: 'float16' }, { precision: 'bfloat16' }])(
    'a training step that any ONNX Runtime runs to the same losses, %j',
    async (settings) => {
      const at = temporaryFolder()
      const config = writeRun(
        at,
        {
          ...settings,
          model: base,
          method: { name: 'lora', r: 4 },
          data: { validation: 0 },
          training: { max_steps: 4, batch_size: 8, learning_rate: 1e-2 },
        },
        lines,
      )
      expect((await graft(['train', config, 'device=cpu'])).code).toBe(0)
      const log = readFileSync(join(at, 'out/log.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l))
      const out = join(at, 'step')
      await exportTraining(await loadConfig(config, registry), registry, out)
      const about = JSON.parse(readFileSync(join(out, 'step.json'), 'utf8'))
      const session = await ort.InferenceSession.create(join(out, 'step.onnx'), {
        graphOptimizationLevel: 'disabled',
        logSeverityLevel: 3,
      })
      const views = {
        F32: [Float32Array, 'float32'],
        I64: [BigInt64Array, 'int64'],
        I32: [Int32Array, 'int32'],
      } as const
      const tensors = (file: string) =>
        Object.fromEntries(
          [...readSafetensors(join(out, file)).tensors].map(([name, t]) => {
            const [View, type] = views[t.dtype as 'F32']
            return [name, new ort.Tensor(type, new View(new Uint8Array(t.data).buffer), t.shape)]
          }),
        )
      let state = tensors('state.safetensors')
      const batches = tensors('batches.safetensors')
      const losses: number[] = []
      for (let step = 1; step <= about.batches; step++) {
        const feeds = Object.fromEntries(
          Object.entries(batches).flatMap(([key, t]) =>
            key.startsWith(`${step}/`) ? [[key.split('/')[1], t]] : [],
          ),
        )
        const outputs = await session.run({ ...state, ...feeds })
        state = Object.fromEntries(
          about.state.map((s: { input: string; output: string }) => [s.input, outputs[s.output]]),
        )
        losses.push(outputs.loss.data[0])
      }
      expect(about.device).toBe(settings.device ?? 'cpu')
      expect(losses.slice(0, 3)).toEqual(log.slice(0, 3).map((e) => expect.closeTo(e.loss, 4)))
      expect(existsSync(join(out, 'run.py')) && existsSync(join(out, 'browser.html'))).toBe(true)
    },
  )
})
