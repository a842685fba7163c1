import { Builder, type Value } from '@graft-peft/onnx'
import { pluginFailed } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import { batchOf, EpochBatches, modelFeeds } from '../data/batches.js'
import { take } from '../data/dataset.js'
import { Tokenizer } from '../data/tokenizer.js'
import { GraftError } from '../errors.js'
import type { PrepareContext } from '../method/method.js'
import type { Model } from '../model/model.js'
import { Feeder } from '../objective/feeder.js'
import { runOnce } from '../runtime/session.js'
import type { Tensors } from '../runtime/tensor.js'
import type { TrainConfig } from '../config/config.js'
import type { Prepared } from './prepare.js'

/** Lets a method look at the base model before it is attached. Deterministic, so a resumed run prepares the same. */
export async function prepareMethod(
  { method, methodOptions, seed, training }: TrainConfig,
  { model, objective, train, pad }: Prepared,
): Promise<unknown> {
  if (!method.prepare) return undefined
  const epoch = new EpochBatches(train, training.batch_size, seed, 0)
  const feeder = new Feeder(model, objective, { pad })
  const feeds = async (k: number) => {
    const examples = await take(train, epoch.batch(k))
    return feeder.inputs(feeder.batch(examples))
  }
  const batches = (count: number) =>
    Promise.all(Array.from({ length: Math.min(count, epoch.count) }, (_, k) => feeds(k)))
  try {
    return await method.prepare({ ...prepareContext(model, pad, seed), batches }, methodOptions)
  } catch (cause) {
    throw pluginFailed(method, cause)
  }
}

/** What `prepare` gets, but for the training data. */
export function prepareContext(base: Model, pad: number, seed: number): PrepareContext {
  const model = base.fork()
  return {
    model,
    g: model.g,
    seed,
    tokenize: (text) => Tokenizer.open(base.folder, base.config).encode(text),
    feed: (sequences) => modelFeeds(model.graph.inputs, batchOf(sequences.map((ids) => ({ ids }))), pad),
    batches: () => {
      throw new GraftError(
        'NO_DATA',
        'This method needs training data to start from; train it with graft train.',
      )
    },
    run: (values, feeds) => runValues(model, values, feeds),
  }
}

/** Computes values of a graph without changing it. */
async function runValues({ graph }: Model, values: Record<string, Value>, feeds: Tensors): Promise<Tensors> {
  const { graph: copy, copyOf } = graph.clone()
  const outputs = Object.fromEntries(Object.entries(values).map(([name, v]) => [name, copyOf(v)]))
  return runOnce(finish(new Builder(copy), outputs), feeds)
}
