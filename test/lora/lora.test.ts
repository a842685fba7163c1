import { float32, int64, targets } from '@graft-peft/core'
import { loadConfig, openModel } from '@graft-peft/core/app'
import { adapt, compileGradient, methodOptions, runOnce, scalar } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { sprout, temporaryFolder, writeRun } from '../fixture.js'

const registry = defaultRegistry()
const lora = registry.get('method', 'lora')
const model = openModel(sprout)
const paths = (options: Parameters<typeof targets>[1]) => targets(model.fork(), options).map((s) => s.path)
const adapted = (options: Record<string, unknown>, training = true) =>
  adapt(model, {
    method: lora,
    methodOptions: methodOptions(lora, options),
    objective: registry.get('objective', 'causal-lm'),
    labels: 0,
    expectedRows: 8,
    totalSteps: 1,
    training,
  })

describe("target_modules as HF PEFT's", () => {
  it('a list matches path ends', () => expect(paths({ target_modules: ['q_proj'] })).toHaveLength(6))
  it('a list never matches part of a name', () =>
    expect(() => paths({ target_modules: ['proj'] })).toThrow(/matches no linear layer/))
  it('a string is a regular expression over the whole path', () => {
    expect(paths({ target_modules: '.*\\.[02]\\.self_attn\\.(q|v)_proj' })).toEqual(
      [0, 2].flatMap((i) => ['q', 'v'].map((n) => `model.layers.${i}.self_attn.${n}_proj`)),
    )
    expect(() => paths({ target_modules: 'q_proj' })).toThrow(/matches no linear layer/)
  })
  it('all-linear leaves the output layer out', () => {
    const all = paths({ target_modules: 'all-linear' })
    expect(all).toHaveLength(42)
    expect(all).not.toContain('lm_head')
  })
  it("nothing given: the architecture's own", () =>
    expect(new Set(paths({}).map((p) => p.split('.').at(-1)))).toEqual(new Set(['q_proj', 'v_proj'])))
  it('exclude_modules and layers_to_transform narrow it down', () => {
    expect(
      paths({
        target_modules: ['q_proj', 'v_proj'],
        exclude_modules: ['v_proj'],
        layers_to_transform: [1, 3],
      }),
    ).toEqual([1, 3].map((i) => `model.layers.${i}.self_attn.q_proj`))
  })
  it('a broken regular expression is named', () =>
    expect(() => paths({ target_modules: '(q' })).toThrow(/"\(q" is not a regular expression/))
})

describe('options', () => {
  const shapes = (options: Record<string, unknown>) =>
    Object.fromEntries(adapted(options).variables.list.map((v) => [v.name, v.shape]))
  it('rank_pattern overrides the rank where a path ends so', () => {
    const found = shapes({
      target_modules: ['q_proj'],
      r: 8,
      rank_pattern: { 'layers.1.self_attn.q_proj': 2 },
    })
    expect(found['model.layers.1.self_attn.q_proj.lora_A.weight']).toEqual([2, 192])
    expect(found['model.layers.0.self_attn.q_proj.lora_A.weight']).toEqual([8, 192])
  })
  it('modules_to_save trains modules in full, and only them though weights are tied', () => {
    const found = adapted({ target_modules: ['q_proj'], modules_to_save: ['lm_head'] })
    expect(found.variables.list.map((v) => v.name)).toContain('lm_head.weight')
    const embedding = found.model.embeddings[0]
    expect(embedding.weight.constant, 'the tied embedding stays frozen').toBeDefined()
  })
  it('modules_to_save of one norm leaves its deduplicated twins frozen', () => {
    const found = adapted({ target_modules: ['q_proj'], modules_to_save: ['layers.2.input_layernorm'] })
    const trained = found.model.norms.filter((n) => !n.weight.constant).map((n) => n.path)
    expect(trained).toEqual(['model.layers.2.input_layernorm'])
  })
  it('starts as the identity: B is zero and A is not', () => {
    const { variables } = adapted({ target_modules: ['q_proj'] })
    const flat = variables.initial(0)
    for (const { name, offset, size } of variables.list)
      expect(
        flat.subarray(offset, offset + size).some((v) => v !== 0),
        name,
      ).toBe(name.includes('lora_A'))
  })
  it('the same seed gives the same start, another seed another', () => {
    const { variables } = adapted({ target_modules: ['q_proj'] })
    expect(variables.initial(1)).toEqual(variables.initial(1))
    expect(variables.initial(1)).not.toEqual(variables.initial(2))
  })
  it('config fills in defaults', async () => {
    const { methodOptions: options } = await loadConfig(
      writeRun(temporaryFolder(), { method: 'lora' }),
      registry,
    )
    expect(options).toMatchObject({
      r: 8,
      // Twice the rank, on every linear layer: what does well where the config says nothing.
      lora_alpha: 16,
      target_modules: 'all-linear',
      lora_dropout: 0,
      bias: 'none',
      init_lora_weights: true,
    })
  })
})

describe('dropout', () => {
  const gradient = async (p: number, seed: number) => {
    const found = adapted({ target_modules: ['q_proj'], lora_dropout: p, init_lora_weights: false })
    const flat = found.variables.initial(0)
    const graph = compileGradient(found)
    const feeds = {
      input_ids: int64([5, 9, 17, 33, 65, 129, 257, 513], [1, 8]),
      attention_mask: int64(Array(8).fill(1), [1, 8]),
      rows: int64([0, 1, 2, 3, 4, 5, 6]),
      targets: int64([9, 17, 33, 65, 129, 257, 513]),
      bounds: int64([0, 7]),
      inverse_count: scalar(1 / 7),
      parameters: float32(flat),
      dropout_seed: { dtype: 'int32' as const, shape: [], data: Int32Array.of(seed) },
    }
    const names = new Set(graph.inputs.map((v) => v.name))
    const { gradient: d } = await runOnce(
      graph,
      Object.fromEntries(Object.entries(feeds).filter(([n]) => names.has(n))),
    )
    return d.data as Float32Array
  }
  it('the same number drops the same elements, another number others', async () => {
    const [a, b, c] = [await gradient(0.5, 7), await gradient(0.5, 7), await gradient(0.5, 8)]
    expect(a).toEqual(b)
    expect(a).not.toEqual(c)
  })
  it('none in evaluation: no input asks for a seed', () => {
    expect(adapted({ lora_dropout: 0.5 }, false).dropoutSeed).toBeUndefined()
  })
})
