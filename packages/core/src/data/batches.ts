import { createHash } from 'node:crypto'
import type { Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { Random } from '../numbers/random.js'
import { noVirtualTokens, type VirtualTokens } from '../method/method.js'
import type { Batch, Example } from './example.js'
import { float32, int32, int64, type Tensors } from '../runtime/tensor.js'
import type { Dataset } from './dataset.js'
import { Permutation } from './order.js'

/**
 * How many batches are sorted by length together: large enough to cut padding, small enough to keep the order
 * random.
 */
const bucket = 50

/**
 * Batch k of an epoch: examples in random order, of like length together. A function of seed, epoch and k
 * alone, computed from one bucket's sizes, so it needs no memory however many examples there are.
 */
export class EpochBatches {
  private readonly order: Permutation
  private group = { index: -1, batches: [] as number[][] }

  constructor(
    private readonly data: Dataset,
    private readonly size: number,
    private readonly seed: number,
    readonly epoch: number,
  ) {
    this.order = new Permutation(data.length, seed, `epoch/${epoch}`)
  }
  get count(): number {
    return Math.ceil(this.data.length / this.size)
  }
  batch(k: number): readonly number[] {
    const index = Math.floor(k / bucket)
    if (this.group.index !== index) this.group = { index, batches: this.fill(index) }
    return this.group.batches[k % bucket]
  }
  private fill(index: number): number[][] {
    const first = index * this.size * bucket
    const count = Math.min(this.size * bucket, this.data.length - first)
    const group = Array.from({ length: count }, (_, i) => this.order.at(first + i)).map((i) => ({
      i,
      size: this.data.size(i),
    }))
    // Equal lengths stay in the epoch's random order: by their place in the file, a sorted file would give
    // batches of one class.
    group.sort((a, b) => a.size - b.size)
    const batches: number[][] = []
    for (let i = 0; i < count; i += this.size) batches.push(group.slice(i, i + this.size).map((e) => e.i))
    return new Random(this.seed, `epoch/${this.epoch}/${index}`).shuffle(batches)
  }
}

/** How large a batch may be. */
export interface BatchLimit {
  rows: number
  /** tokens with padding; a row that has more is a batch of its own. Any number when left out */
  tokens?: number
}
/** How many examples of a size (tokens; 0: an image) a batch takes, at least one. */
export const fitting = ({ rows, tokens = Number.POSITIVE_INFINITY }: BatchLimit, size: number): number =>
  Math.max(1, Math.min(rows, Math.floor(tokens / Math.max(1, size))))

/** Batches for evaluation, with the examples' places in the data: a bucket at a time in the order of length. */
export function* sortedBatches(data: Dataset, limit: BatchLimit): Generator<number[]> {
  const { rows } = limit
  for (let first = 0; first < data.length; first += rows * bucket) {
    const count = Math.min(rows * bucket, data.length - first)
    const order = Array.from({ length: count }, (_, i) => ({
      i: first + i,
      size: data.size(first + i),
    })).sort((a, b) => a.size - b.size)
    let batch: number[] = []
    for (const { i, size } of order) {
      if (batch.length > 0 && batch.length + 1 > fitting(limit, size)) {
        yield batch
        batch = []
      }
      batch.push(i)
    }
    if (batch.length > 0) yield batch
  }
}

/** Pads on the right; at least two tokens long, since exporters treat a length of one as a case of its own. */
export function batchOf(
  examples: readonly Example[],
  virtual: VirtualTokens = noVirtualTokens,
  pad = 0,
): Batch {
  const led = virtual.count === 0 ? examples : examples.map((e) => afterVirtual(e, virtual, pad))
  return {
    examples: led,
    length: Math.max(2, ...led.map((e) => e.ids.length)),
    decoderLength: Math.max(2, ...led.map((e) => e.decoderIds?.length ?? 0)),
  }
}

/**
 * Dummy tokens in front of every text, for methods that replace what the model makes of them: masks,
 * positions and shapes come out right in any graph. They differ from padding, since some models read the mask
 * off the ids.
 */
function afterVirtual(
  { ids, tokenLabels, types, ...rest }: Example,
  { count, predictive, labels: own }: VirtualTokens,
  pad: number,
): Example {
  const fill = (value: number) => new Array<number>(count).fill(value)
  const labels = predictive ? tokenLabels : tokenLabels?.map((l, i) => (i === 0 ? -100 : l))
  return {
    ...rest,
    ids: [...fill(pad === 0 ? 1 : 0), ...ids],
    ...(labels ? { tokenLabels: [...(own ?? fill(-100)), ...labels] } : {}),
    ...(types ? { types: [...fill(0), ...types] } : {}),
  }
}

/** Numbers of an image at most, a quarter of a gigabyte: a size beyond that is a mistake of the file's. */
const most = 2 ** 26
type Filler = (batch: Batch, pad: number, shape: readonly (number | string)[]) => Tensors[string]
/** How each input a model may ask for is made from a batch, [batch, length] unless said otherwise. */
const fillers: Record<string, Filler> = {
  input_ids: (b, pad) => padded(b, ({ ids }, s) => ids[s] ?? pad),
  // Texts packed into a row are numbered; a model built here reads that, any other sees one text a row.
  attention_mask: (b) => padded(b, ({ ids, starts }, s) => (s < ids.length ? segment(starts, s) + 1 : 0)),
  position_ids: (b) => padded(b, ({ starts }, s) => (starts ? s - starts[segment(starts, s)] : s)),
  token_type_ids: (b) => padded(b, ({ types }, s) => types?.[s] ?? 0),
  decoder_input_ids: (b, pad) =>
    padded({ ...b, length: b.decoderLength }, ({ decoderIds }, s) => decoderIds?.[s] ?? pad),
  pixel_values: ({ examples }, _, shape) => {
    const each = (shape.slice(1) as number[]).reduce((a, n) => a * n, 1)
    if (each > most)
      throw new GraftError(
        'TOO_LARGE',
        `The model wants images of [${shape.slice(1).join(', ')}]: more than ${most} numbers each. The model file is damaged.`,
      )
    const data = new Float32Array(examples.length * each)
    examples.forEach((e, i) => e.pixels && data.set(e.pixels, i * each))
    return float32(data, [examples.length, ...(shape.slice(1) as number[])])
  },
}
/** The last start that is not after s. */
function segment(starts: readonly number[] | undefined, s: number): number {
  if (!starts) return 0
  let k = 0
  while (k + 1 < starts.length && starts[k + 1] <= s) k++
  return k
}

function padded(
  { examples, length }: Pick<Batch, 'examples' | 'length'>,
  at: (example: Example, s: number) => number,
): Tensors[string] {
  const values = new Array<number>(examples.length * length)
  examples.forEach((example, b) => {
    for (let s = 0; s < length; s++) values[b * length + s] = at(example, s)
  })
  return int64(values, [examples.length, length])
}

/**
 * The model's own inputs for a batch, and the tasks of its examples for who asks. Throws UNKNOWN_INPUT for an
 * input Graft can't fill.
 */
export function modelFeeds(inputs: readonly Value[], batch: Batch, pad: number): Tensors {
  const own = inputs.map(({ name, shape, dtype }) => {
    const made = filler(name)(batch, pad, shape ?? [])
    return [name, dtype === 'int32' ? int32(made) : made]
  })
  return { ...Object.fromEntries(own), [tasksInput]: tasksOf(batch.examples.map(({ task = 0 }) => task)) }
}
/** The input that says which task each row of a batch belongs to. */
export const tasksInput = 'task_ids'
export const tasksOf = (tasks: readonly number[]): Tensors[string] => int64(tasks, [tasks.length])
function filler(name: string) {
  const found = fillers[name]
  if (!found)
    throw new GraftError(
      'UNKNOWN_INPUT',
      `The model asks for input ${name}; Graft can fill ${Object.keys(fillers).join(', ')}. Export the model without it (use_cache=False leaves past_key_values out).`,
    )
  return found
}
/** Fails early, before any training, on inputs that no batch can fill. */
export const checkInputs = (inputs: readonly Value[]): void => {
  for (const { name } of inputs) filler(name)
}

/** Tells batches apart in the log: methods that are compared must see the same. */
export const digestOf = (batches: readonly (readonly Example[])[]): string =>
  createHash('sha256')
    .update(
      JSON.stringify(
        batches.map((batch) =>
          batch.map(({ ids, label, tokenLabels, image }) => [ids, label, tokenLabels, image?.file]),
        ),
      ),
    )
    .digest('hex')
    .slice(0, 12)
