import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as pb from '../../packages/onnx/dist/format/gen/onnx-ml_pb.js'
import { root, temporaryFolder } from '../fixture.js'

export const { create, toBinary } = createRequire(join(root, 'packages/onnx/package.json'))(
  '@bufbuild/protobuf',
)
export type Proto = Record<string, unknown>
export const node = (
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
export const floats = (name: string, dims: number[], more: Proto = {}) => ({
  name,
  dims: dims.map(BigInt),
  dataType: 1,
  rawData: new Uint8Array(
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => (i % 7) / 8).buffer,
  ),
  ...more,
})
export const halves = (name: string, dims: number[]) => ({
  name,
  dims: dims.map(BigInt),
  dataType: 10,
  // 0.5 in float16
  rawData: new Uint8Array(new Uint16Array(dims.reduce((a, b) => a * b, 1)).fill(0x3800).buffer),
})
export const info = (name: string, elemType: number, dims: (string | number)[]) => ({
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
export const ids = info('input_ids', 7, ['batch', 'sequence'])
export const scores = info('logits', 1, ['batch', 'sequence', 16])
/** ids → 16 numbers each → a product: the smallest model of a text. */
export const nodes = [node('Gather', ['table', 'input_ids'], ['x']), node('MatMul', ['x', 'w'], ['logits'])]

export function model(
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
