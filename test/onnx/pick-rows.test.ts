import { float32, int64 } from '@graft-peft/core'
import { compileEvaluation, compileGradient, numbers, runOnce } from '@graft-peft/core/inside'
import { Builder, Graph, pickRows, type Value } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { attach, openTiny, registry } from '../tiny.js'

const weight = (g: Builder, rows: number, columns: number) =>
  g.constant(
    'float32',
    Array.from({ length: rows * columns }, (_, i) => Math.cos(i)),
    [rows, columns],
  )
type Build = (g: Builder, x: Value, mixed: Value) => Value
const cases: Record<string, { build: Build; full: string[] }> = {
  'a norm and a product': { full: [], build: (g, x) => g.linear(g.op('SimplifiedLayerNormalization', [x, g.constant('float32', [1, 2, 3, 4])], { axis: 2, epsilon: 1e-5, stash_type: 1 }), weight(g, 3, 4)) },
  'a residual sum and a gate': { full: [], build: (g, x) => g.add(x, g.mul(g.sigmoid(g.matMul(x, weight(g, 4, 4))), g.matMul(x, weight(g, 4, 4)))) },
  'flattened positions on the way': { full: [], build: (g, x) => g.reshape(g.add(g.matMul(g.reshape(x, ['batch*sequence', 4]), weight(g, 4, 4)), g.constant('float32', [1, 2, 3, 4])), ['batch', 'sequence', 4]) },
  'one number per position': { full: [], build: (g, x, mixed) => g.where(g.less(mixed, g.scalar(0.2)), g.scalar(0), x) },
  'a mix of positions stays whole': { full: ['Softmax'], build: (g, x) => g.exp(g.op('Softmax', [x], { axis: 1 })) },
  'what others read as well stays whole': {
    full: ['Tanh'],
    build: (g, x) => {
      const shared = g.tanh(x)
      return g.add(shared, g.matMul(g.softmax(g.matMul(shared, shared, { transB: true })), shared))
    },
  },
} // biome-ignore format: a table

describe('some rows of what treats all alike', () => {
  for (const [name, { build, full }] of Object.entries(cases))
    it(name, async () => {
      const g = new Builder(new Graph())
      const x = g.graph.addInput('x', 'float32', ['batch', 'sequence', 4])
      const mixed = g.graph.addInput('mixed', 'float32', ['batch', 'sequence', 1])
      const rows = g.graph.addInput('rows', 'int64', ['rows'])
      const y = build(g, x, mixed)
      const expected = g.gather(g.reshape(y, ['batch*sequence', y.shape?.at(-1) as number]), rows)
      const picked = pickRows(g, y, rows)
      g.graph.outputs.push(picked, expected)
      const feeds = {
        x: float32(
          Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
          [2, 3, 4],
        ),
        mixed: float32([0, 1, 0.1, 0.5, 0, 0.3], [2, 3, 1]),
        rows: int64([5, 0, 2, 5]),
      }
      const [a, b] = Object.values(await runOnce(g.graph, feeds))
      expect(a.shape).toEqual([4, y.shape?.at(-1)])
      numbers(a).forEach((v, i) => expect(v).toBeCloseTo(numbers(b)[i], 5))
      g.graph.outputs.splice(1)
      g.graph.prune()
      // Only these are left with a row per position.
      const whole = [...g.graph.nodes]
        .filter(
          (n) =>
            n.outputs[0]?.dtype === 'float32' && n.outputs[0].shape?.[0] === 'batch' && n.op !== 'Reshape',
        )
        .map((n) => n.op)
      for (const op of full) expect(whole).toContain(op)
      if (full.length === 0) expect(whole).toEqual([])
    })
})

describe('the last layer of a model', () => {
  const attached = (objective: string, training: boolean) =>
    attach(
      openTiny('llama'),
      'lora',
      { r: 2, target_modules: 'all-linear' },
      { objective: registry.get('objective', objective), labels: 3, training },
    )
  it.each(['causal-lm', 'sequence-classification'])(
    '%s: feed-forward part and output projection are computed for supervised rows alone',
    (objective) => {
      for (const graph of [
        compileGradient(attached(objective, true)),
        compileEvaluation(attached(objective, false)),
      ]) {
        const last = [...graph.nodes].filter(
          (n) =>
            /layers\.1\.(mlp\.(gate|up|down)_proj|self_attn\.o_proj)$/.test(n.scope) &&
            n.op === 'com.microsoft::FusedMatMul',
        )
        expect(last.length).toBeGreaterThanOrEqual(4)
        for (const n of last) expect(n.outputs[0]?.shape?.length, n.name).toBe(2)
      }
    },
  )
})
