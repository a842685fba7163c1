import { float32, int64, type PeftMethod, type Value } from '@graft-peft/core'
import { adapt, methodOptions, runOnce, unit } from '@graft-peft/core/inside'
import { toyDecoder } from '@graft-peft/method-tester'
import { causalLm } from '@graft-peft/core'
import { defaultRegistry } from 'graft-peft'
import { Builder, Graph } from '@graft-peft/onnx'
import { expect, it } from 'vitest'

const registry = defaultRegistry()
const ids = int64([3, 1, 4, 1, 5], [1, 5])

/** What one layer's weight or input is in a step of training, its parameters all but alike. */
async function inStep(name: string, given: object, read: 'weight' | 'input', seed: number) {
  const method = registry.get('method', name) as PeftMethod
  const methodOptions_ = methodOptions(method, { target_modules: ['q_proj'], ...given })
  const { model, variables, dropoutSeed } = adapt(toyDecoder(), {
    method,
    methodOptions: { ...methodOptions_, modules_to_save: [] },
    objective: causalLm,
    labels: 0,
    expectedRows: 4,
    totalSteps: 9,
    training: true,
  })
  const site = model.linears.find((l) => l.path === 'model.layers.0.self_attn.q_proj')
  const value = site?.[read].value as Value
  model.graph.outputs.splice(0, model.graph.outputs.length, value)
  model.graph.prune()
  model.graph.dropUnusedInputs()
  const feeds = {
    input_ids: ids,
    attention_mask: int64([1, 1, 1, 1, 1], [1, 5]),
    parameters: float32(Float32Array.from({ length: variables.total }, (_, i) => 0.3 + Math.sin(i) / 5)),
    dropout_seed: { dtype: 'int32' as const, shape: [], data: Int32Array.of(seed) },
  }
  const wanted = Object.fromEntries(
    Object.entries(feeds).filter(([key]) => model.graph.inputs.some((v) => v.name === key)),
  )
  const result = await runOnce(model.graph, wanted)
  expect(dropoutSeed !== undefined).toBe(Object.keys(given).some((key) => /dropout$/.test(key)))
  return Array.from(result[value.name].data as Float32Array)
}
const rows = (flat: number[], width: number) =>
  Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width))
const change = (a: number[], b: number[]) => Math.max(...a.map((v, i) => Math.abs(v - b[i])))

it.each([
  ['loha', {}, true],
  ['lokr', {}, false],
  ['lokr', { rank_dropout_scale: true }, true],
])('%s %j: rank dropout takes rows of the update away', async (name, given, scaled) => {
  const base = rows(await inStep(name, { ...given, alpha: 1e-9 }, 'weight', 0), 16)
  const whole = rows(await inStep(name, given, 'weight', 0), 16)
  const some = rows(await inStep(name, { ...given, rank_dropout: 0.4 }, 'weight', 7), 16)
  const kept = some.map((row, i) => change(row, base[i]) > 1e-4)
  const count = kept.filter(Boolean).length
  expect(count).toBeGreaterThan(0)
  expect(count).toBeLessThan(16)
  const factor = scaled ? 16 / count : 1
  some.forEach((row, i) => {
    const expected = base[i].map((w, j) => w + (kept[i] ? factor : 0) * (whole[i][j] - w))
    expect(change(row, expected)).toBeLessThan(1e-4)
  })
})

it('module dropout takes all of the update away, in about its share of the steps', async () => {
  const base = await inStep('loha', { alpha: 1e-9 }, 'weight', 0)
  const there = []
  for (let seed = 0; seed < 24; seed++)
    there.push(change(await inStep('loha', { module_dropout: 0.5 }, 'weight', 77 * seed), base) > 1e-4)
  const share = there.filter(Boolean).length / 24
  expect(share).toBeGreaterThan(0.2)
  expect(share).toBeLessThan(0.8)
})

it.each([
  ['oft', { oft_block_size: 4 }, { module_dropout: 0.6 }, 2],
  ['boft', { boft_block_size: 4 }, { boft_dropout: 0.6 }, 2],
])('%s: dropped blocks turn nothing', async (name, given, dropped, count) => {
  const whole = rows(await inStep(name, given, 'input', 0), 16)
  const base = rows(await inStep('loha', {}, 'input', 0), 16)
  const some = rows(await inStep(name, { ...given, ...dropped }, 'input', 5), 16)
  const block = (row: number[], i: number) => row.slice(4 * i, 4 * i + 4)
  const idle = [0, 1, 2, 3].filter((i) =>
    some.every((row, t) => change(block(row, i), block(base[t], i)) < 1e-5),
  )
  expect(idle).toHaveLength(count)
  for (const i of [0, 1, 2, 3].filter((k) => !idle.includes(k)))
    some.forEach((row, t) => expect(change(block(row, i), block(whole[t], i))).toBeLessThan(1e-5))
})

it('noise is finite whatever is hashed', async () => {
  const g = new Builder(new Graph())
  const integers = [-(2 ** 31), -(2 ** 31) + 63, -(2 ** 31) + 65, -1, 0, 1, 2 ** 31 - 1]
  const value = unit(g, g.constant('int32', integers))
  g.graph.outputs.push(value)
  const { [value.name]: found } = await runOnce(g.graph, {})
  for (const u of found.data as Float32Array) {
    expect(u).toBeGreaterThan(0)
    expect(u).toBeLessThanOrEqual(1)
  }
})
