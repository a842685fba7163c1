import { readBytes } from '@graft-peft/onnx'
import type { GgufTensor } from './file.js'

/** Reads rows of so many numbers of a tensor. */
export function rowReader(tensor: GgufTensor, columns: number): (row: Float32Array, r: number) => void {
  const { type } = tensor
  const bytes = readBytes({ file: tensor.file, offset: tensor.offset, length: tensor.length })
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const perRow = columns / type.values
  return (row, r) => {
    for (let b = 0; b < perRow; b++) {
      const out = row.subarray(b * type.values, (b + 1) * type.values)
      type.unpack(view, (r * perRow + b) * type.bytes, out)
    }
  }
}
/** All numbers of a small tensor. */
export function numbersOf(tensor: GgufTensor): number[] {
  const count = tensor.shape.reduce((a, b) => a * b, 1)
  const row = new Float32Array(count)
  rowReader(tensor, count)(row, 0)
  return [...row]
}
