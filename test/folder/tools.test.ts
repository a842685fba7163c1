import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { floatsOf } from '@graft-peft/core'
import { combine, convert, merge, openAdapter, unmerge, openModel } from '@graft-peft/core/app'
import { readSafetensors } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { graft, root, temporaryFolder, writeRun } from '../fixture.js'

import { adapters, base, lines, open, registry, train, trainFirst } from './trained.js'

trainFirst()
const weightsOf = (folder: string) =>
  new Map(
    [...readSafetensors(join(folder, 'model.safetensors')).tensors].map(([name, t]) => [
      name,
      floatsOf(t, name),
    ]),
  )
/** Difference of two checkpoints' tensors by name. */
function delta(merged: string): Map<string, Float32Array> {
  const before = weightsOf(base)
  return new Map(
    [...weightsOf(merged)].map(([name, v]) => [name, v.map((x, i) => x - (before.get(name)?.[i] ?? 0))]),
  )
}
const greatest = (v: Float32Array) => v.reduce((m, x) => Math.max(m, Math.abs(x)), 0)

describe('merging', () => {
  it('into a Hugging Face folder: the same logits, only the touched tensors changed', async () => {
    const out = join(temporaryFolder(), 'merged')
    const report = await merge(await open(adapters.lora), out, registry)
    expect(report).toMatchObject({ format: 'safetensors', weights: 12 })
    expect(report.difference).toBeLessThan(1e-4)
    const changed = [...delta(out)].filter(([, d]) => greatest(d) > 0).map(([name]) => name)
    expect(changed.every((name) => /q_proj|down_proj/.test(name))).toBe(true)
    expect(changed).toHaveLength(12)
    expect(existsSync(join(out, 'tokenizer.json'))).toBe(true)
    await expect(merge(await open(adapters.lora), out, registry)).rejects.toThrow(/exists already/)
  })
  it('into ONNX with a cache, which writes what base and adapter write', async () => {
    const out = join(temporaryFolder(), 'onnx')
    await merge(await open(adapters.lora), out, registry, 'onnx')
    const names = openModel(join(out, 'onnx/model.onnx'), { cache: true }).graph.inputs.map((v) => v.name)
    expect(names.slice(0, 3)).toEqual(['input_ids', 'attention_mask', 'position_ids'])
    expect(names).toContain('past_key_values.5.value')
    const write = (args: string[]) =>
      graft(['generate', ...args, '--prompt', 'What is 7?', '--max-tokens', '12', '--json']).then(
        (r) => JSON.parse(r.stdout).text,
      )
    expect(await write([join(out, 'onnx/model.onnx')])).toBe(await write([base, '--adapter', adapters.lora]))
  })
  it('keeps bfloat16 as it is', async () => {
    const bf16 = join(root, 'test/golden/architectures/llama-bfloat16')
    const out = join(temporaryFolder(), 'merged')
    await merge(await openAdapter(join(bf16, 'lora/end'), registry, join(bf16, 'model')), out, registry)
    const dtypes = new Set(
      [...readSafetensors(join(out, 'model.safetensors')).tensors.values()].map((t) => t.dtype),
    )
    expect(dtypes).toEqual(new Set(['BF16']))
  })
  it('a tied output layer that was adapted alone gets a weight of its own', async () => {
    const folder = await train({ name: 'lora', r: 2, target_modules: ['lm_head', 'q_proj'] })
    const out = join(temporaryFolder(), 'merged')
    const { difference } = await merge(await open(folder), out, registry)
    expect(difference).toBeLessThan(1e-4)
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).tie_word_embeddings).toBe(false)
    const [before, after] = [weightsOf(base), weightsOf(out)]
    expect(after.get('model.embed_tokens.weight')).toEqual(before.get('model.embed_tokens.weight'))
    expect(
      greatest(
        (after.get('lm_head.weight') as Float32Array).map(
          (v, i) => v - (before.get('model.embed_tokens.weight') as Float32Array)[i],
        ),
      ),
    ).toBeGreaterThan(1e-4)
  })
  it('a base kept in 4 bits: through its original', async () => {
    const cache = temporaryFolder()
    process.env.GRAFT_CACHE = cache
    try {
      const at = temporaryFolder()
      const config = writeRun(
        at,
        {
          model: base,
          quantize: 'int4',
          method: { name: 'lora', r: 4 },
          data: { validation: 0 },
          training: { max_steps: 3, batch_size: 8 },
        },
        lines,
      )
      expect((await graft(['train', config])).code).toBe(0)
      const { stdout, code, stderr } = await graft([
        'merge',
        join(at, 'out/adapter'),
        join(at, 'merged'),
        '--json',
      ])
      expect(code, stderr).toBe(0)
      expect(JSON.parse(stdout).difference).toBeLessThan(1e-4)
      await expect(
        openAdapter(join(at, 'out/adapter'), registry).then((a) => merge(a, join(at, 'again'), registry)),
      ).rejects.toThrow(/kept in 4 bits.*full-precision original/)
    } finally {
      delete process.env.GRAFT_CACHE
    }
  })
  it('prompts have no weights', async () => {
    await expect(merge(await open(adapters.prompt), join(temporaryFolder(), 'm'), registry)).rejects.toThrow(
      /can't be merged/,
    )
  })
})

describe('unmerging', () => {
  it('gives the base back up to rounding', async () => {
    const [merged, out] = [join(temporaryFolder(), 'merged'), join(temporaryFolder(), 'out')]
    await merge(await open(adapters.lora), merged, registry)
    await unmerge(await openAdapter(adapters.lora, registry, merged), out)
    expect(Math.max(...[...delta(out).values()].map(greatest))).toBeLessThan(1e-6)
  })
  it('is refused where the method multiplies', async () => {
    const merged = join(temporaryFolder(), 'merged')
    await merge(await open(adapters.ia3), merged, registry)
    await expect(
      unmerge(await openAdapter(adapters.ia3, registry, merged), join(temporaryFolder(), 'out')),
    ).rejects.toThrow(/does more to .*k_proj.weight than add/)
  })
})

describe('combining', () => {
  const merged = async (folder: string) => {
    const out = join(temporaryFolder(), 'merged')
    await merge(await open(folder), out, registry)
    return delta(out)
  }
  const parts = () => [
    { folder: adapters.lora, weight: 0.7 },
    { folder: adapters.rslora, weight: -0.4 },
  ]
  const options = { mode: 'sum' as const, density: 1, seed: 0, model: undefined as string | undefined }

  it('a weighted sum is exact, of any ranks and scales', async () => {
    const out = join(temporaryFolder(), 'sum')
    const report = await combine(parts(), out, registry, { ...options, model: base })
    expect(report).toMatchObject({ error: 0, rank: 6 })
    const [one, two, sum] = [await merged(adapters.lora), await merged(adapters.rslora), await merged(out)]
    for (const [name, d] of sum)
      expect(
        greatest(
          d.map(
            (v, i) => v - 0.7 * (one.get(name) as Float32Array)[i] + 0.4 * (two.get(name) as Float32Array)[i],
          ),
        ),
      ).toBeLessThan(1e-6)
  })
  it('cut to a rank, with the error it reports', async () => {
    const out = join(temporaryFolder(), 'cut')
    const report = await combine(parts(), out, registry, { ...options, rank: 3, model: base })
    const whole = join(temporaryFolder(), 'whole')
    await combine(parts(), whole, registry, { ...options, model: base })
    const [cut, exact] = [await merged(out), await merged(whole)]
    const norm = (v: Float32Array) => Math.hypot(...v)
    const errors = [...exact]
      .filter(([, d]) => greatest(d) > 0)
      .map(([name, d]) => norm(d.map((v, i) => v - (cut.get(name) as Float32Array)[i])) / norm(d))
    expect(report.rank).toBe(3)
    expect(Math.max(...errors)).toBeCloseTo(report.error, 3)
  })
  it('ties and dare of one adapter with itself, nothing dropped, are that adapter', async () => {
    const twice = [
      { folder: adapters.lora, weight: 1 },
      { folder: adapters.lora, weight: 1 },
    ]
    const one = await merged(adapters.lora)
    for (const [mode, factor] of [
      ['ties', 1],
      ['dare', 2],
    ] as const) {
      const out = join(temporaryFolder(), mode)
      await combine(twice, out, registry, { ...options, mode, model: base })
      for (const [name, d] of await merged(out))
        expect(
          greatest(d.map((v, i) => v - factor * (one.get(name) as Float32Array)[i])),
          `${mode} ${name}`,
        ).toBeLessThan(2e-5)
    }
  })
  it('adapters of other methods count too', async () => {
    const out = join(temporaryFolder(), 'mixed')
    expect(
      (
        await combine(
          [
            { folder: adapters.lora, weight: 1 },
            { folder: adapters.adalora, weight: 1 },
          ],
          out,
          registry,
          { ...options, model: base },
        )
      ).error,
    ).toBe(0)
    const [one, two, sum] = [await merged(adapters.lora), await merged(adapters.adalora), await merged(out)]
    for (const [name, d] of sum)
      expect(
        greatest(
          d.map((v, i) => v - (one.get(name) as Float32Array)[i] - (two.get(name) as Float32Array)[i]),
        ),
      ).toBeLessThan(2e-5)
  })
})

describe('converting', () => {
  it('AdaLoRA, whose updates have a low rank, to LoRA', async () => {
    const out = join(temporaryFolder(), 'lora')
    const report = await convert(adapters.adalora, out, registry, { to: 'lora', rank: 4, model: base })
    expect(report.error).toBeLessThan(1e-3)
    expect(JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8')).peft_type).toBe('LORA')
  })
  it('what has no low-rank form, to a method that has none: refused', async () => {
    await expect(
      convert(adapters.prompt, join(temporaryFolder(), 'x'), registry, { to: 'lora', model: base }),
    ).rejects.toThrow(/can't be merged/)
    await expect(
      convert(adapters.lora, join(temporaryFolder(), 'x'), registry, { to: 'ia3', model: base }),
    ).rejects.toThrow(/ia3 doesn't say low-rank updates; lora does/)
  })
})
