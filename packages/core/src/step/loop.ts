import { sizesOf, stacked } from '@graft-peft/onnx'
import { int64, type Tensor, type Tensors } from '../runtime/tensor.js'

/**
 * What a loop is fed for several runs: each input's values one after another, padded to the largest, with the
 * sizes they have.
 */
export function stackFeeds(runs: readonly Tensors[], names: readonly string[]): Tensors {
  const all: Tensors = { iterations: int64([runs.length], []) }
  for (const name of names) {
    const tensors = runs.map((feeds) => feeds[name])
    const rank = tensors[0].shape.length
    const largest = Array.from({ length: rank }, (_, axis) => Math.max(...tensors.map((t) => t.shape[axis])))
    all[stacked(name)] = {
      dtype: tensors[0].dtype,
      shape: [runs.length, ...largest],
      data: padded(tensors, largest),
    }
    if (rank > 0)
      all[sizesOf(name)] = int64(
        tensors.flatMap((t) => t.shape),
        [runs.length, rank],
      )
  }
  return all
}

function padded(tensors: readonly Tensor[], largest: readonly number[]): Tensor['data'] {
  const size = largest.reduce((a, b) => a * b, 1)
  const Numbers = tensors[0].data.constructor as new (length: number) => Tensor['data']
  const all = new Numbers(size * tensors.length)
  tensors.forEach(({ data, shape }, k) =>
    copyInto(all, data, { shape, largest, axis: 0, to: k * size, from: 0 }),
  )
  return all
}
interface Copying {
  shape: readonly number[]
  largest: readonly number[]
  axis: number
  to: number
  from: number
}
/** Copies a tensor into the corner of a larger one. */
function copyInto(
  all: Tensor['data'],
  data: Tensor['data'],
  { shape, largest, axis, to, from }: Copying,
): void {
  const [count, rest] = [shape.slice(axis), largest.slice(axis)]
  if (axis >= shape.length - 1 || `${count.slice(1)}` === `${rest.slice(1)}`) {
    const length = count.reduce((a, b) => a * b, 1)
    ;(all as Float32Array).set((data as Float32Array).subarray(from, from + length), to)
    return
  }
  const [inner, outer] = [count.slice(1).reduce((a, b) => a * b, 1), rest.slice(1).reduce((a, b) => a * b, 1)]
  for (let i = 0; i < count[0]; i++)
    copyInto(all, data, { shape, largest, axis: axis + 1, to: to + i * outer, from: from + i * inner })
}
