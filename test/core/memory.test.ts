import { type Model } from '@graft-peft/core'
import { memoryModes } from '@graft-peft/core/app'
import { adamw, compileGradient, runOnce, sgd, Step, Stepper } from '@graft-peft/core/inside'
import { executionOrder, fileOrder, type Graph, planMemory } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { attach, attachingOf, feedsOf, openTiny as open, texts as examples } from '../tiny.js'

describe('what the backward pass keeps', () => {
  const sizes = { batch: 2, sequence: 8, supervised: 12, bounds: 2 }
  const cases: [string, string, Record<string, unknown>][] = [
    ['llama', 'lora', { r: 2, lora_dropout: 0.3 }],
    ['gemma2', 'lora', { target_modules: 'all-linear', r: 2 }],
    ['gpt2', 'lora', { r: 2 }],
    ['bloom', 'ia3', {}],
    ['llama', 'adalora', { total_step: 5 }],
    ['llama', 'prefix-tuning', { num_virtual_tokens: 3 }],
    ['llama-bfloat16', 'lora', { target_modules: 'all-linear' }],
    ['llama-tied-linear', 'full', {}],
  ]

  for (const [folder, name, options] of cases)
    it(`${name} on ${folder}: gradients are equal bit for bit, memory falls`, async () => {
      const model = open(folder)
      const found = await Promise.all(
        memoryModes.map((mode) => gradientOf(model, name, options, { mode, sizes })),
      )
      for (const { gradient } of found)
        expect(Buffer.from(gradient.buffer).equals(Buffer.from(found[0].gradient.buffer))).toBe(true)
      expect(found[0].gradient.some((v) => v !== 0)).toBe(true)
      const [fast, balanced, low] = found.map((f) => f.nodes)
      expect(balanced).toBeGreaterThanOrEqual(fast)
      expect(low).toBeGreaterThan(fast)
    })

  async function gradientOf(
    model: Model,
    name: string,
    options: Record<string, unknown>,
    keeping: Parameters<typeof compileGradient>[1],
  ) {
    const adapted = attach(model, name, options)
    const graph = compileGradient(adapted, keeping)
    const outputs = await runOnce(graph, feedsOf(model, adapted))
    return { gradient: outputs.gradient.data as Float32Array, nodes: graph.nodes.size }
  }

  it('a deep chain needs little: each block is computed again when the backward pass gets to it', () => {
    const model = open('llama')
    const peaks = memoryModes.map((mode) =>
      peak(
        compileGradient(attach(model, 'lora', { r: 2 }), {
          mode,
          sizes: { ...sizes, batch: 8, sequence: 64, supervised: 8 },
        }),
      ),
    )
    expect(peaks[0]).toBeGreaterThan(peaks[2])
    expect(peaks[1]).toBeLessThanOrEqual(peaks[0])
  })
  const peak = (graph: Graph) =>
    planMemory(fileOrder(graph), graph.outputs, { batch: 8, sequence: 64, supervised: 8, bounds: 2 }).peak

  it('the order is one in which producers come first', () => {
    const order = executionOrder(
      fileOrder(compileGradient(attach(open('llama'), 'lora', { r: 2 }), { mode: 'low', sizes })),
    )
    const place = new Map(order.map((node, i) => [node, i]))
    for (const node of order)
      for (const v of node.inputs)
        if (v?.producer) expect(place.get(v.producer)).toBeLessThan(place.get(node) as number)
  })
})

describe('an optimiser beside the graph does what the graph does', () => {
  const options = { weight_decay: 0.1, betas: [0.9, 0.99] as const, epsilon: 1e-8, momentum: 0.9 }
  for (const [optimizer, accumulate, clip] of [
    [adamw({ name: 'adamw', ...options }), false, 0.05],
    [adamw({ name: 'adamw', ...options }), true, 0],
    [sgd({ name: 'sgd', ...options }), true, 0.05],
  ] as const)
    it(`${optimizer.options.name}${accumulate ? ', gradients of two runs added up' : ''}${clip ? ', clipped' : ''}`, async () => {
      const [inGraph, beside] = await Promise.all([false, true].map((separate) => trained(separate)))
      expect(beside.losses.map((l) => l.toFixed(4))).toEqual(inGraph.losses.map((l) => l.toFixed(4)))
      for (const [name, vector] of Object.entries(inGraph.vectors)) {
        const scale = vector.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
        const off = vector.reduce((most, v, i) => Math.max(most, Math.abs(v - beside.vectors[name][i])), 0)
        expect(off / scale, name).toBeLessThan(2e-5)
      }

      async function trained(separate: boolean) {
        const model = open('llama')
        const attaching = {
          ...attachingOf('lora', { r: 2, lora_dropout: 0.2, target_modules: 'all-linear' }),
          separate,
        }
        const step = Step.of(model, attaching, {
          optimizer,
          clip,
          accumulate,
          memory: 'balanced',
          sample: examples,
          pad: 0,
        })
        const stepper = await Stepper.open(step, step.adapted.variables.initial(1), {})
        const losses: number[] = []
        try {
          for (let t = 1; t <= 4; t++)
            losses.push(
              (await stepper.step(t, 1e-2, accumulate ? examples.map((e) => [e]) : [examples])).loss,
            )
        } finally {
          await stepper.close()
        }
        return { losses, vectors: await stepper.read() }
      }
    })
})
