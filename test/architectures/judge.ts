import { defineObjective, fileKey, float32, type Model, shapeOf } from '@graft-peft/core'
import { adapt, compileGradient, Decoder, methodOptions, runOnce, scalar } from '@graft-peft/core/inside'
import { expect } from 'vitest'
import { registry } from '../tiny.js'
import { type Case, counted, feedsOf, values } from './case.js'

/** The sum of all outputs, each times a number of its own. */
const weighted = defineObjective({
  name: 'weighted-sum',
  taskType: null,
  savedModules: [],
  classifies: false,
  build({ model, g }) {
    const logits = model.graph.outputs.find((v) => v.name === 'hidden') ?? model.logits
    const weights = g.graph.addInput('weights', 'float32', shapeOf(logits))
    const axes = shapeOf(logits).map((_, i) => i)
    const predictions = g.reshape(g.op('ArgMax', [logits], { axis: -1, keepdims: 0 }), [-1])
    return { lossSum: g.reduceSum(g.mul(logits, weights), axes, false), partials: new Map(), predictions }
  },
  supervise: () => ({ feeds: {}, count: 1, targets: [] }),
})

/** A model's output for a case's inputs. */
export async function outputOf(model: Model, given: Case): Promise<Float32Array> {
  const outputs = await runOnce(
    model.graph,
    feedsOf(
      given,
      model.graph.inputs.map((v) => v.name),
    ),
  )
  return (outputs.hidden ?? outputs.logits).data as Float32Array
}

/** Greatest difference of two outputs where they count, relative to the greatest number if that is above one. */
export function difference(got: Float32Array, expected: Float32Array, counts: Float32Array): number {
  const greatest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 1)
  return expected.reduce((m, v, i) => Math.max(m, counts[i] ? Math.abs(v - got[i]) : 0), 0) / greatest
}

/** Greatest difference of LoRA's gradients from HF PEFT's, relative to the greatest number of each. */
export async function gradientDifference(model: Model, given: Case): Promise<number> {
  const lora = registry.get('method', 'lora')
  const config = methodOptions(lora, {
    r: 2,
    lora_alpha: 4,
    target_modules: given.targets,
    modules_to_save: [],
  })
  const adapted = adapt(model, { method: lora, methodOptions: config, objective: weighted, labels: 3, expectedRows: 1, totalSteps: 1, training: false }) // biome-ignore format: one call
  const graph = compileGradient(adapted)
  const named = (name: string) => name.replace('base_model.model.', '')
  const parameters = new Float32Array(adapted.variables.total)
  for (const v of adapted.variables.list) parameters.set(values(named(fileKey(v)), v.shape), v.offset)
  const [shape] = given.output
  const counts = counted(given)
  const outputs = await runOnce(graph, {
    ...feedsOf(
      given,
      model.graph.inputs.map((v) => v.name),
    ),
    weights: float32(
      values('loss', shape).map((v, i) => v * counts[i]),
      shape,
    ),
    inverse_count: scalar(1),
    parameters: float32(parameters),
  })
  const flat = outputs.gradient.data as Float32Array
  expect(adapted.variables.list.map((v) => named(fileKey(v))).sort()).toEqual(
    Object.keys(given.gradients).sort(),
  )
  return adapted.variables.list.reduce((worst, v) => {
    const [product, norm, greatest] = given.gradients[named(fileKey(v))]
    const own = flat.subarray(v.offset, v.offset + v.shape.reduce((a, b) => a * b, 1))
    const weights = values(`${named(fileKey(v))} gradient`, v.shape)
    const far = Math.max(
      Math.abs(own.reduce((s, x, i) => s + x * weights[i], 0) - product),
      Math.abs(Math.hypot(...own) - norm),
    )
    return Math.max(worst, far / Math.max(greatest * Math.sqrt(own.length), 1e-3))
  }, 0)
}

/** The tokens that a model writes after each prompt, the likeliest each time. */
export async function written(
  model: Model,
  prompts: readonly number[][],
  count: number,
): Promise<number[][]> {
  const decoder = await Decoder.open(model, undefined, { pad: 0 })
  const all: number[][] = []
  for (const prompt of prompts) {
    const sequence = decoder.begin()
    const made: number[] = []
    for (let ids: readonly number[] = prompt; made.length < count; ids = made.slice(-1)) {
      const logits = await sequence.read(ids)
      made.push(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))))
    }
    await sequence.end()
    all.push(made)
  }
  await decoder.close()
  return all
}
