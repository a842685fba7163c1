import type { FrozenCut, Value } from '@graft-peft/onnx'
import { type BatchLimit, batchOf, modelFeeds, sortedBatches } from '../data/batches.js'
import { Appended, type Dataset, take } from '../data/dataset.js'
import type { Batch, Example } from '../data/example.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, type Tensors } from '../runtime/tensor.js'

export type CachedDataset = Dataset & { close(): void }

/**
 * Examples with what the frozen layers below the adapter make of them: computed once, kept in a nameless file
 * in `folder`. `inputs` are the model's own.
 */
export async function withFrozenPrefix(
  data: Dataset,
  { below, values }: FrozenCut,
  {
    inputs,
    pad,
    batch: limit,
    ...options
  }: SessionOptions & { inputs: readonly Value[]; pad: number; batch: BatchLimit },
  folder: string,
  onProgress: (done: number) => void,
): Promise<CachedDataset> {
  const session = await Session.open(below, options)
  const names = below.outputs.map((v) => v.name)
  const kept = new Appended(folder)
  const places: number[] = []
  let done = 0
  try {
    for (const indices of sortedBatches(data, limit)) {
      const batch = batchOf(await take(data, indices), undefined, pad)
      const outputs = await session.run(modelFeeds(inputs, batch, pad))
      indices.forEach((i, row) => {
        places[i] = kept.size
        values.forEach((v, k) =>
          kept.append(ownRows(outputs[names[k]], row, positionsOf(v, batch.examples[row]))),
        )
      })
      done += indices.length
      onProgress(done)
    }
  } catch (error) {
    kept.close()
    throw error
  } finally {
    await session.close()
  }
  const get = async (i: number): Promise<Example> => {
    const example = await data.get(i)
    let at = places[i]
    const frozen = values.map((v) => {
      const bytes = 4 * positionsOf(v, example) * widthOf(v)
      const read = kept.read(at, bytes)
      at += bytes
      return new Float32Array(read.buffer, read.byteOffset, bytes / 4)
    })
    return { ...example, frozen }
  }
  return { length: data.length, size: (i) => data.size(i), get, close: () => kept.close() }
}

/** What a step is fed at its cut: each example's rows, padded with zeros, which masks hide as they hide padding. */
export function frozenFeeds(values: readonly Value[], { examples, length }: Batch): Tensors {
  return Object.fromEntries(
    values.map((v, k) => {
      const [rows, width] = [typeof v.shape?.[1] === 'number' ? v.shape[1] : length, widthOf(v)]
      const all = new Float32Array(examples.length * rows * width)
      examples.forEach(({ frozen }, b) => frozen && all.set(frozen[k], b * rows * width))
      return [v.name, float32(all, [examples.length, rows, width])]
    }),
  )
}

const widthOf = (v: Value): number => v.shape?.[2] as number
/** An image has the model's own number of positions, a text its tokens. */
const positionsOf = (v: Value, { ids }: Example): number =>
  typeof v.shape?.[1] === 'number' ? v.shape[1] : ids.length

function ownRows({ data, shape: [, rows, width] }: Tensors[string], row: number, count: number): Buffer {
  const own = (data as Float32Array).subarray(row * rows * width, (row * rows + count) * width)
  return Buffer.from(own.buffer, own.byteOffset, own.byteLength)
}
