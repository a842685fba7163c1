import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { openModel } from '@graft-peft/core/app'
import { batchOf, modelFeeds, runOnce } from '@graft-peft/core/inside'
import { readOnnx } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import * as pb from '../../packages/onnx/dist/format/gen/onnx-ml_pb.js'
import { root, temporaryFolder } from '../fixture.js'

const { create, toBinary } = createRequire(join(root, 'packages/onnx/package.json'))('@bufbuild/protobuf')
type Proto = Record<string, unknown>
const node = (
  opType: string,
  input: string[],
  output: string[],
  attribute: Proto[] = [],
  more: Proto = {},
) => ({
  opType,
  input,
  output,
  attribute,
  ...more,
})
const floats = (name: string, dims: number[], more: Proto = {}) => ({
  name,
  dims: dims.map(BigInt),
  dataType: 1,
  rawData: new Uint8Array(
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => (i % 7) / 8).buffer,
  ),
  ...more,
})
const halves = (name: string, dims: number[]) => ({
  name,
  dims: dims.map(BigInt),
  dataType: 10,
  // 0.5 in float16
  rawData: new Uint8Array(new Uint16Array(dims.reduce((a, b) => a * b, 1)).fill(0x3800).buffer),
})
const info = (name: string, elemType: number, dims: (string | number)[]) => ({
  name,
  type: {
    value: {
      case: 'tensorType',
      value: {
        elemType,
        shape: {
          dim: dims.map((d) => ({
            value:
              typeof d === 'number' ? { case: 'dimValue', value: BigInt(d) } : { case: 'dimParam', value: d },
          })),
        },
      },
    },
  },
})
const ids = info('input_ids', 7, ['batch', 'sequence'])
const scores = info('logits', 1, ['batch', 'sequence', 16])
/** ids → 16 numbers each → a product: the smallest model of a text. */
const nodes = [node('Gather', ['table', 'input_ids'], ['x']), node('MatMul', ['x', 'w'], ['logits'])]

function model(
  { folder = temporaryFolder(), ...graph }: Proto & { folder?: string },
  more: Proto = {},
): string {
  const path = join(folder, 'model.onnx')
  const full = {
    irVersion: 9n,
    opsetImport: [
      { domain: '', version: 20n },
      { domain: 'com.microsoft', version: 1n },
    ],
    graph: {
      input: [ids],
      output: [scores],
      node: nodes,
      initializer: [floats('table', [32, 16]), floats('w', [16, 16])],
      ...graph,
    },
    ...more,
  }
  writeFileSync(path, toBinary(pb.ModelProtoSchema, create(pb.ModelProtoSchema, full)))
  return path
}
const feeds = (path: string) => {
  const opened = openModel(path)
  return { opened, feeds: modelFeeds(opened.graph.inputs, batchOf([{ ids: [3, 4, 5] }]), 0) }
}

describe('ONNX from other tools', () => {
  it('a file that says in so many words that its bytes are inside', () => {
    const initializer = [floats('table', [32, 16], { dataLocation: 0 }), floats('w', [16, 16])]
    const bytes = toBinary(pb.TensorProtoSchema, create(pb.TensorProtoSchema, initializer[0]))
    // protobuf leaves a zero out; onnx.save writes it, behind the bytes.
    const written = toBinary(
      pb.GraphProtoSchema,
      create(pb.GraphProtoSchema, {
        input: [ids],
        output: [scores],
        node: nodes,
        initializer: [initializer[1]],
      }),
    )
    const tensor = Buffer.concat([bytes, Buffer.from([14 * 8, 0])])
    const length = [(tensor.length & 127) | 128, (tensor.length >> 7) & 127]
    const graph = Buffer.concat([written, Buffer.from([5 * 8 + 2, ...length]), tensor])
    const rest = toBinary(
      pb.ModelProtoSchema,
      create(pb.ModelProtoSchema, { irVersion: 9n, opsetImport: [{ domain: '', version: 20n }] }),
    )
    const size = [(graph.length & 127) | 128, (graph.length >> 7) & 127]
    const path = join(temporaryFolder(), 'model.onnx')
    writeFileSync(path, Buffer.concat([rest, Buffer.from([7 * 8 + 2, ...size]), graph]))
    expect(openModel(path).embeddings[0].rows).toBe(32)
  })

  it('a graph in float16 is computed in float32', async () => {
    const path = model({
      output: [info('logits', 10, ['batch', 'sequence', 16])],
      initializer: [halves('table', [48, 16]), halves('w', [16, 16])],
    })
    const { opened, feeds: given } = feeds(path)
    expect(opened.linears).toHaveLength(1)
    const { logits } = await runOnce(opened.graph, given)
    expect(logits.dtype).toBe('float32')
    expect(logits.data[0]).toBeCloseTo(16 * 0.5 * 0.5, 5)
  })

  it('ids of 32 bits are fed as such', async () => {
    const path = model({ input: [info('input_ids', 6, ['batch', 'sequence'])] })
    const { opened, feeds: given } = feeds(path)
    expect(opened.embeddings).toHaveLength(1)
    expect((await runOnce(opened.graph, given)).logits.shape).toEqual([1, 3, 16])
  })

  it('modules whose names were lost are numbered, none shares a name with another', () => {
    const path = model({
      node: [
        nodes[0],
        node('MatMul', ['x', 'val_1'], ['y']),
        node('MatMul', ['y', 'val_2'], ['z']),
        node('MatMul', ['z', 'layer.out.weight_Q4'], ['logits']),
      ],
      initializer: [
        floats('table', [32, 16]),
        ...['val_1', 'val_2', 'layer.out.weight_Q4'].map((n) => floats(n, [16, 16])),
      ],
    })
    expect(openModel(path).linears.map((s) => s.path)).toEqual(['linear_0', 'linear_1', 'layer.out'])
  })

  it('a folder of a type that nothing here builds is opened by the export beside it', () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'onnx'))
    model({ folder: join(folder, 'onnx') })
    writeFileSync(join(folder, 'config.json'), '{"model_type": "strange"}')
    writeFileSync(join(folder, 'model.safetensors'), '')
    const opened = openModel(folder)
    expect(opened.file).toBe(join(folder, 'onnx/model.onnx'))
    expect(opened.notices.join()).toMatch(/strange/)
  })

  it('FusedGemm is a product and its activation', () => {
    const fused = node(
      'FusedGemm',
      ['y', 'w'],
      ['z'],
      [{ name: 'activation', type: 3, s: Buffer.from('Relu') }],
      { domain: 'com.microsoft' },
    )
    const graph = readOnnx(
      model({
        input: [info('y', 1, ['batch', 16])],
        output: [info('z', 1, ['batch', 16])],
        node: [fused],
        initializer: [floats('w', [16, 16])],
      }),
    )
    expect([...graph.nodes].map((n) => n.op)).toEqual(['Gemm', 'Relu'])
    expect(graph.outputs[0].shape).toEqual(['batch', 16])
  })
})

describe('hostile graphs are refused by name', () => {
  const attribute = (name: string, fields: Proto) => [{ name, ...fields }]
  const external = (entries: Record<string, string>) => ({
    name: 'w',
    dims: [16n, 16n],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  })
  it.each([
    [
      'an attribute of another type',
      { node: [node('Transpose', ['table'], ['t'], attribute('perm', { type: 2, i: 1n })), ...nodes] },
      /perm is INT, expected INTS/,
    ],
    [
      'an axis beyond the rank',
      {
        node: [node('Transpose', ['table'], ['t'], attribute('perm', { type: 7, ints: [1n, 9n] })), ...nodes],
      },
      /Transpose.* an axis that is not there/,
    ],
    [
      'an operator named as what every object has',
      { node: [node('hasOwnProperty', ['table'], ['t']), ...nodes] },
      /there is no such operator/,
    ],
    [
      'weights that claim to be in the file itself',
      { initializer: [floats('table', [32, 16]), external({ location: '\u0000self', offset: '0' })] },
      /outside the model's folder/,
    ],
    [
      'weights that are a folder',
      { initializer: [floats('table', [32, 16]), external({ location: 'sub' })] },
      /sub: a folder, where a file is expected/,
    ],
    ['a constant without a value', { node: [node('Constant', [], ['c']), ...nodes] }, /it has no value/],
    ['a node without inputs', { node: [node('Identity', [], ['i']), ...nodes] }, /input 0 is missing/],
    ['an output without a name', { output: [info('', 1, [1])] }, /output without a name/],
    [
      'an offset that is no number',
      { initializer: [floats('table', [32, 16]), external({ location: 'w.bin', offset: 'abc' })] },
      /offset "abc", which is no number of bytes/,
    ],
    [
      'a link out of the folder',
      { initializer: [floats('table', [32, 16]), external({ location: 'linked/w.bin' })] },
      /outside the model's folder/,
    ],
  ])('%s', (_, graph, says) => {
    const [folder, elsewhere] = [temporaryFolder(), temporaryFolder()]
    writeFileSync(join(folder, 'w.bin'), Buffer.alloc(1024))
    mkdirSync(join(folder, 'sub'))
    mkdirSync(join(elsewhere, 'secret'))
    writeFileSync(join(elsewhere, 'secret/w.bin'), Buffer.alloc(1024))
    symlinkSync(join(elsewhere, 'secret'), join(folder, 'linked'))
    expect(() => readOnnx(model({ folder, ...graph }))).toThrow(says)
  })

  it('images of a size that no memory holds', () => {
    const pixels = info('pixel_values', 1, ['batch', 3, 2 ** 20, 2 ** 20])
    const pooled = node('ReduceMean', ['pixel_values'], ['logits'], [{ name: 'keepdims', type: 2, i: 0n }])
    const { inputs } = readOnnx(model({ input: [pixels], output: [info('logits', 1, [])], node: [pooled] }))
    expect(() => modelFeeds(inputs, batchOf([{ ids: [] }]), 0)).toThrow(/wants images of \[3, 1048576/)
  })

  it('functions that call each other twice, thirty deep', () => {
    const functions = Array.from({ length: 30 }, (_, i) => ({
      name: `F${i}`,
      domain: 'f',
      input: ['x'],
      output: ['y'],
      node: [0, 1].map((k) =>
        node(
          i === 29 ? 'Neg' : `F${i + 1}`,
          [k ? 't' : 'x'],
          [k ? 'y' : 't'],
          [],
          i === 29 ? {} : { domain: 'f' },
        ),
      ),
    }))
    const call = node('F0', ['table'], ['q'], [], { domain: 'f' })
    expect(() => readOnnx(model({ node: [call, ...nodes] }, { functions }))).toThrow(/more than 131072 nodes/)
  })
})
