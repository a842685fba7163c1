import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openModel } from '@graft-peft/core/app'
import { batchOf, modelFeeds, runOnce } from '@graft-peft/core/inside'
import { readOnnx } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import * as pb from '../../packages/onnx/dist/format/gen/onnx-ml_pb.js'
import { temporaryFolder } from '../fixture.js'
import { create, floats, halves, ids, info, model, node, nodes, scores, toBinary } from './proto.js'

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

  it('sizes of -1 are free ones', () => {
    const { inputs } = readOnnx(model({ input: [info('input_ids', 7, [-1, -1])] }))
    expect(inputs[0].shape).toEqual(['[input_ids.0]', '[input_ids.1]'])
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
