import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Tensor, type Tensors } from '@graft-peft/core'
import { runOnce } from '@graft-peft/core/inside'
import { encodeOnnx, Graph, readOnnx, outputOf, type Value } from '@graft-peft/onnx'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'

const ort = createRequire(join(root, 'packages/core/package.json'))('onnxruntime-node')

type Input = {
  shape: number[]
  dtype?: 'float32' | 'int64' | 'int32' | 'bool'
  values?: number[]
  name?: string
} | null
interface Case {
  op: string
  inputs: Input[]
  attributes?: Record<string, number>
  /** the outputs to compare */
  outputs?: number[]
  /** outputs that are int32 */
  whole?: number[]
  opset?: number
}

let seed = 1
const random = () => {
  seed = (seed * 48271) % 2147483647
  return seed / 2147483647 - 0.5
}
const x = (...shape: number[]): Input => ({ shape })
const ints = (shape: number[], values: number[], dtype: 'int64' | 'int32' = 'int32'): Input => ({
  shape,
  values,
  dtype,
})
const table = (f: (a: number) => number, rows: number, width: number): Input => ({
  shape: [rows, width],
  values: Array.from({ length: rows * width }, (_, i) => f(i * 0.37)),
})
const views = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array }

function tensor({ shape, dtype = 'float32', values }: NonNullable<Input>): Tensor {
  const list = values ?? Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random)
  const data = dtype === 'int64' ? BigInt64Array.from(list, BigInt) : views[dtype as 'float32'].from(list)
  return { dtype, shape, data } as Tensor
}

/** Runs an operator by ONNX Runtime's own kernel, and as Graft reads it: taken apart. */
async function both({
  op,
  inputs,
  attributes = {},
  outputs = [0],
  whole = [],
  opset = 21,
}: Case): Promise<{ own: Tensors; expanded: Tensors; ops: Set<string> }> {
  const graph = new Graph()
  const given = inputs.map(
    (input, i) => input && graph.addInput(`x${i}`, input.dtype ?? 'float32', input.shape),
  )
  const names = Array.from({ length: Math.max(...outputs) + 1 }, (_, i) =>
    outputs.includes(i) ? `y${i}` : null,
  )
  const node = graph.addNode(op, given as (Value | null)[], attributes, { outputs: names })
  for (const i of whole) outputOf(node, i).dtype = 'int32'
  graph.outputs.push(...node.outputs.filter((v): v is Value => v !== null))
  const bytes = Buffer.from(encodeOnnx(graph))
  // The writer knows one opset; newer operators are of a later one.
  const version = bytes.indexOf(Buffer.from([0x0a, 0x00, 0x10, 21]))
  bytes[version + 3] = opset
  const path = join(temporaryFolder(), 'model.onnx')
  writeFileSync(path, bytes)
  const feeds = Object.fromEntries(inputs.flatMap((input, i) => (input ? [[`x${i}`, tensor(input)]] : [])))
  const session = await ort.InferenceSession.create(path, { logSeverityLevel: 3 })
  const own = await session.run(
    Object.fromEntries(
      Object.entries(feeds).map(([name, t]) => [name, new ort.Tensor(t.dtype, t.data, t.shape)]),
    ),
  )
  const read = readOnnx(path)
  return { own, expanded: await runOnce(read, feeds), ops: new Set([...read.nodes].map((n) => n.op)) }
}

const heads = { num_heads: 4 }
const grouped = { num_heads: 4, kv_num_heads: 2 }
const [cos, sin] = [table(Math.cos, 16, 4), table(Math.sin, 16, 4)]
const [cos16, sin16] = [table(Math.cos, 16, 8), table(Math.sin, 16, 8)]
const kv = (n: number) => x(2, n, 32)
const noPast: Input = { shape: [2, 2, 0, 16], values: [] }

const cases: Record<string, Case> = {
  'SkipLayerNormalization with bias': {
    op: 'com.microsoft::SkipLayerNormalization',
    inputs: [x(2, 3, 8), x(2, 3, 8), x(8), x(8), x(8)],
    attributes: { epsilon: 1e-3 },
    outputs: [0, 3],
  },
  SkipSimplifiedLayerNormalization: {
    op: 'com.microsoft::SkipSimplifiedLayerNormalization',
    inputs: [x(2, 3, 8), x(2, 3, 8), x(8)],
    outputs: [0, 3],
  },
  FastGelu: { op: 'com.microsoft::FastGelu', inputs: [x(2, 8), x(8)] },
  BiasGelu: { op: 'com.microsoft::BiasGelu', inputs: [x(2, 8), x(8)] },
  QuickGelu: { op: 'com.microsoft::QuickGelu', inputs: [x(2, 8)], attributes: { alpha: 1.7 } },
  EmbedLayerNormalization: {
    op: 'com.microsoft::EmbedLayerNormalization',
    inputs: [
      ints([2, 3], [1, 2, 0, 3, 1, 2]),
      ints([2, 3], [0, 0, 1, 0, 1, 1]),
      x(5, 8),
      x(6, 8),
      x(2, 8),
      x(8),
      x(8),
      ints([2, 3], [1, 1, 0, 1, 1, 1]),
    ],
    outputs: [0, 1],
    whole: [1],
  },
  'Attention with a mask': {
    op: 'com.microsoft::Attention',
    inputs: [x(2, 3, 8), x(8, 24), x(24), ints([2, 3], [1, 1, 0, 1, 1, 1])],
    attributes: heads,
  },
  'Attention, unidirectional': {
    op: 'com.microsoft::Attention',
    inputs: [x(2, 3, 8), x(8, 24), x(24)],
    attributes: { ...heads, unidirectional: 1 },
  },
  'MultiHeadAttention with bias and mask': {
    op: 'com.microsoft::MultiHeadAttention',
    inputs: [x(2, 3, 8), x(2, 5, 8), x(2, 5, 8), x(24), ints([2, 5], [1, 1, 1, 0, 0, 1, 1, 1, 1, 1])],
    attributes: heads,
  },
  'MultiHeadAttention with a score bias': {
    op: 'com.microsoft::MultiHeadAttention',
    inputs: [x(2, 3, 8), x(2, 3, 8), x(2, 3, 8), null, null, x(2, 4, 3, 3)],
    attributes: { ...heads, scale: 0.3 },
  },
  'GroupQueryAttention, a prompt, rotated': {
    op: 'com.microsoft::GroupQueryAttention',
    inputs: [x(2, 5, 64), kv(5), kv(5), noPast, noPast, ints([2], [4, 4]), ints([], [5]), cos16, sin16],
    attributes: { ...grouped, do_rotary: 1 },
    outputs: [0, 1, 2],
  },
  'GroupQueryAttention, packed, soft-capped, through a window': {
    op: 'com.microsoft::GroupQueryAttention',
    inputs: [x(2, 6, 128), null, null, noPast, noPast, ints([2], [5, 5]), ints([], [6]), cos16, sin16],
    attributes: { ...grouped, do_rotary: 1, rotary_interleaved: 1, local_window_size: 3, softcap: 2 },
  },
  'RotaryEmbedding 23 with positions': {
    op: 'RotaryEmbedding',
    inputs: [x(2, 4, 3, 8), cos, sin, ints([2, 3], [0, 1, 2, 4, 5, 6], 'int64')],
    opset: 23,
  },
  'RotaryEmbedding 23 with a table per token': {
    op: 'RotaryEmbedding',
    inputs: [x(2, 4, 3, 8), x(2, 3, 4), x(2, 3, 4)],
    attributes: { interleaved: 1 },
    opset: 23,
  },
  'Attention 23, grouped, causal': {
    op: 'Attention',
    inputs: [x(2, 4, 3, 8), x(2, 2, 3, 8), x(2, 2, 3, 8)],
    attributes: { is_causal: 1 },
    opset: 23,
  },
  'Attention 23, joined heads, a mask, a softcap': {
    op: 'Attention',
    inputs: [
      x(2, 3, 32),
      x(2, 5, 16),
      x(2, 5, 16),
      { shape: [3, 5], dtype: 'bool', values: [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1] },
    ],
    attributes: { q_num_heads: 4, kv_num_heads: 2, softcap: 1.5, scale: 0.2 },
    opset: 23,
  },
}

describe('fused operators are read as plain ones that compute the same', () => {
  for (const [name, test] of Object.entries(cases))
    it(name, async () => {
      const { own, expanded, ops } = await both(test)
      for (const [output, { data }] of Object.entries(own) as [string, { data: Float32Array }][]) {
        const found = expanded[output].data as Float32Array
        expect(found.length).toBe(data.length)
        expect(Math.max(...Array.from(data, (v, i) => Math.abs(v - found[i]))), output).toBeLessThan(2e-6)
      }
      const fused =
        /Skip|MultiHead|GroupQuery|EmbedLayer|::Attention|^Attention|^RotaryEmbedding$|FastGelu|BiasGelu/
      expect([...ops].filter((op) => fused.test(op))).toEqual([])
    })
})
