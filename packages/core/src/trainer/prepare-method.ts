import { Builder, type Value } from '@graft-peft/onnx'
import { pluginFailed } from '../blame.js'
import { finish } from '../compile/step.js'
import { batchOf, EpochBatches, modelFeeds } from '../data/batches.js'
import type { Batch } from '../data/example.js'
import { take } from '../data/dataset.js'
import { tokenizerOf } from '../data/tokenizer.js'
import { GraftError } from '../errors.js'
import type { PrepareContext } from '../method/method.js'
import type { Model } from '../model/model.js'
import { Feeder } from '../objective/feeder.js'
import { runOnce } from '../runtime/session.js'
import { float32, type Tensor, type Tensors } from '../runtime/tensor.js'
import type { TrainConfig } from '../config/config.js'
import type { RunInputs } from './inputs.js'

/** Lets a method look at the base model before it is attached. Deterministic, so a resumed run prepares the same. */
export async function prepareMethod(
  { method, methodOptions, seed, training }: TrainConfig,
  { model, objective, train, pad }: RunInputs,
): Promise<unknown> {
  if (!method.prepare) return undefined
  const epoch = new EpochBatches(train, training.batch_size, seed, 0)
  const feeder = new Feeder(model, objective, { pad })
  const first = async <T>(count: number, of: (batch: Batch) => T): Promise<T[]> => {
    const numbers = Array.from({ length: Math.min(count, epoch.count) }, (_, k) => k)
    return Promise.all(numbers.map(async (k) => of(feeder.batch(await take(train, epoch.batch(k))))))
  }
  const batches = (count: number) => first(count, (batch) => feeder.inputs(batch))
  const masks = (count: number) => first(count, countedPositions)
  try {
    return await method.prepare({ ...prepareContext(model, pad, seed), batches, masks }, methodOptions)
  } catch (cause) {
    throw pluginFailed(method, cause)
  }
}

/** 1 where a position is real and not left out of the loss. */
export function countedPositions({ examples, length }: Batch): Tensor {
  const values = new Float32Array(examples.length * length)
  examples.forEach(({ ids, tokenLabels, decoderIds }, b) => {
    const labels = decoderIds ? undefined : tokenLabels
    for (let s = 0; s < ids.length; s++) values[b * length + s] = Number(labels?.[s] !== -100)
  })
  return float32(values, [examples.length, length])
}

/** What `prepare` gets, but for the training data. */
export function prepareContext(base: Model, pad: number, seed: number): PrepareContext {
  const model = base.fork()
  return {
    model,
    g: model.g,
    seed,
    tokenize: (text) => tokenizerOf(base).encode(text),
    // The base's own inputs: what the method adds to its fork it feeds itself.
    feed: (sequences) => modelFeeds(base.graph.inputs, batchOf(sequences.map((ids) => ({ ids }))), pad),
    batches: noData,
    masks: noData,
    run: (values, feeds) => runValues(model, values, feeds),
  }
}

/** Computes values of a graph without changing it. */
async function runValues({ graph }: Model, values: Record<string, Value>, feeds: Tensors): Promise<Tensors> {
  const { graph: copy, copyOf } = graph.clone()
  const outputs = Object.fromEntries(Object.entries(values).map(([name, v]) => [name, copyOf(v)]))
  return runOnce(finish(new Builder(copy), outputs), feeds)
}

const noData = (): never => {
  throw new GraftError('NO_DATA', 'This method needs training data to start from; train it with graft train.')
}
