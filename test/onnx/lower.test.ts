import { float32, int64, type Tensors } from '@graft-peft/core'
import { adamw, compileEvaluation, compileStep, int32, next, numbers, runOnce } from '@graft-peft/core/inside'
import { Builder, Graph, lowerForWebgpu, narrowName, type Value } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { attach, feedsOf, openTiny as open } from '../tiny.js'

/** Runs a graph and its lowered form on the CPU: they must say the same. */
async function both(
  graph: Graph,
  feeds: Tensors,
): Promise<{ own: Tensors; lowered: Tensors; ops: Set<string>; inputs: string[] }> {
  const lowered = lowerForWebgpu(graph)
  const narrow = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [narrowName(name), int32(t)]))
  return {
    own: await runOnce(graph, feeds),
    lowered: await runOnce(lowered, { ...feeds, ...narrow }),
    ops: new Set([...lowered.nodes].map((n) => n.op)),
    inputs: lowered.inputs.map((v) => v.name),
  }
}
function expectAlike(own: Tensors, lowered: Tensors): void {
  const [a, b] = [Object.values(own), Object.values(lowered)]
  expect(b.length).toBe(a.length)
  a.forEach((t, i) => numbers(t).forEach((v, k) => expect(numbers(b[i])[k]).toBeCloseTo(v, 4)))
}

type Build = (g: Builder, x: Value, ids: Value) => Value[]
const cases: Record<string, { gone: string; build: Build }> = {
  'a product of batches, both transposed, scaled': { gone: 'com.microsoft::FusedMatMul', build: (g, x) => [g.matMul(x, x, { transA: true, alpha: 0.5 }), g.matMul(x, x, { transB: true })] },
  'a product with a weight': { gone: 'com.microsoft::FusedMatMul', build: (g, x) => [g.linear(x, g.constant('float32', [1, 2, 3, 4, 5, 6, 7, 8], [2, 4]))] },
  'a product of matrices': { gone: 'com.microsoft::FusedMatMul', build: (g, x) => [g.matMul(g.reshape(x, [6, 4]), g.reshape(x, [6, 4]), { transA: true, alpha: 2 })] },
  'a norm whose inverse deviation is read': { gone: 'SimplifiedLayerNormalization', build: (g, x) => g.ops('SimplifiedLayerNormalization', [x, g.constant('float32', [1, 2, 3, 4])], { axis: -1, epsilon: 1e-3, stash_type: 1 }, 2) },
  'log soft-max': { gone: 'LogSoftmax', build: (g, x) => [g.op('LogSoftmax', [x], { axis: 1 })] },
  sign: { gone: 'Sign', build: (g, x) => [g.sign(g.relu(x)), g.sign(x)] },
  'sum and mean of several': { gone: 'Mean', build: (g, x) => [g.op('Sum', [x, x, g.exp(x)]), g.op('Mean', [x, g.exp(x), x])] },
  'and, or': { gone: 'Or', build: (g, x) => ['And', 'Or'].map((op) => g.cast(g.op(op, [g.greater(x, g.scalar(0)), g.less(x, g.scalar(0.5))]), 'float32')) },
  'integers that are compared and counted': {
    gone: 'int64 arithmetic',
    build: (g, _, ids) => [g.cast(g.equal(g.add(ids, g.int(1)), g.op('Clip', [g.mul(ids, g.int(2)), g.int(0), g.int(6)])), 'float32'), g.cast(g.reduceSum(ids, [1]), 'float32')],
  },
  'positions that are computed': { gone: 'int64 arithmetic', build: (g, x, ids) => [g.gather(g.reshape(x, [6, 4]), g.sub(ids, g.int(0)), 0), g.op('GatherElements', [ids, g.sub(g.int(1), g.op('Clip', [ids, g.int(0), g.int(1)]))], { axis: 1 })] },
  'numbers that 32 bits do not hold stay wide': { gone: '', build: (g, _, ids) => [g.cast(g.less(ids, g.int(2 ** 40)), 'float32'), g.cast(g.less(g.add(ids, g.int(2 ** 40)), ids), 'float32')] },
  'where the greatest stands': { gone: 'ArgMax', build: (g, x) => [g.add(g.op('ArgMax', [x], { axis: -1, keepdims: 1 }), g.int(5)), g.op('ArgMax', [g.relu(x)], { axis: 1, keepdims: 0 })] },
  'truth values picked by place': { gone: '', build: (g, x, ids) => [g.cast(g.op('GatherND', [g.greater(x, g.scalar(0)), g.reshape(g.constant('int64', [0, 1, 1, 2]), [2, 2])]), 'float32'), g.cast(ids, 'float32')] },
  'stored pairs turned round': { gone: 'Transpose', build: (g, x) => [g.op('GatherND', [x, g.transpose(g.graph.addConstant('pairs', { dtype: 'int64', shape: [2, 3], data: { bytes: new Uint8Array(BigInt64Array.of(0n, 1n, 1n, 2n, 0n, 1n).buffer) } }), [1, 0])])] },
} // biome-ignore format: a table

describe('what WebGPU has no kernel for is spelt by what it has', () => {
  for (const [name, { gone, build }] of Object.entries(cases))
    it(name, async () => {
      const g = new Builder(new Graph())
      const x = g.graph.addInput('x', 'float32', [2, 3, 4])
      const ids = g.graph.addInput('ids', 'int64', [2, 3])
      g.graph.outputs.push(...build(g, x, ids))
      const data = Float32Array.from({ length: 24 }, (_, i) => Math.sin(3 * i + 1))
      const { own, lowered, ops, inputs } = await both(g.graph, {
        x: float32(data, [2, 3, 4]),
        ids: int64([0, 3, 1, 5, 2, 4], [2, 3]),
      })
      expectAlike(own, lowered)
      expect(ops.has(gone)).toBe(false)
      if (gone === 'int64 arithmetic') expect(inputs).toContain('ids:int32')
    })
})

describe('a whole step lowered is the step', () => {
  const optimizer = adamw({ name: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0, momentum: 0 })
  it.each([
    ['llama', 'lora', { r: 2, lora_dropout: 0.3, target_modules: 'all-linear' }],
    ['gemma2', 'full', {}],
    ['bloom', 'prefix-tuning', { num_virtual_tokens: 3 }],
    ['llama', 'shira', { r: 2 }],
  ] as const)('%s, %s', async (folder, name, options) => {
    for (const training of [true, false]) {
      const model = open(folder)
      const adapted = attach(model, name, options, { training })
      const graph = training
        ? compileStep(adapted, { optimizer, clip: 1, accumulate: false })
        : compileEvaluation(adapted)
      const zeros = () => float32(new Float32Array(adapted.variables.total))
      const all: Tensors = {
        ...feedsOf(model, adapted),
        first_moment: zeros(),
        second_moment: zeros(),
        scalars: float32(optimizer.scalars(1, 1e-3)),
      }
      const { own, lowered } = await both(graph, all)
      if (training)
        for (const key of ['loss', 'gradient_norm', next('first_moment')])
          expectAlike({ key: own[key] }, { key: lowered[key] })
      else expectAlike(own, lowered)
    }
  })
})
