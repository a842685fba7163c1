import type { Value } from '@graft/onnx'
import { GraftError } from '../errors.js'
import { Random } from '../method/random.js'
import { noVirtualTokens, type VirtualTokens } from '../method/method.js'
import type { Batch, Example } from '../objective/objective.js'
import { float32, int64, type Tensors } from '../runtime/tensor.js'

/** How many batches are sorted by length together: large enough to cut padding, small enough to keep the order random. */
const bucket = 50

/** One epoch's batches: shuffled, examples of like length together, batches in random order. A function of seed and epoch alone. */
export function epochBatches(examples: readonly Example[], size: number, seed: number, epoch: number): number[][] {
  const random = new Random(seed, `epoch/${epoch}`)
  const order = random.shuffle(examples.map((_, i) => i))
  const batches: number[][] = []
  for (let start = 0; start < order.length; start += size * bucket) {
    const group = order.slice(start, start + size * bucket).sort((a, b) => examples[a].ids.length - examples[b].ids.length || a - b)
    for (let i = 0; i < group.length; i += size) batches.push(group.slice(i, i + size))
  }
  return random.shuffle(batches)
}

/** Batches in the order of length, for evaluation, with the examples' places in the data. */
export function sortedBatches(examples: readonly Example[], size: number): number[][] {
  const order = examples.map((_, i) => i).sort((a, b) => examples[a].ids.length - examples[b].ids.length)
  return Array.from({ length: Math.ceil(order.length / size) }, (_, i) => order.slice(i * size, (i + 1) * size))
}

/** Pads on the right; at least two tokens long, since exporters treat a length of one as a case of its own. */
export function batchOf(examples: readonly Example[], virtual: VirtualTokens = noVirtualTokens, pad = 0): Batch {
  const led = virtual.count === 0 ? examples : examples.map((e) => afterVirtual(e, virtual, pad))
  return { examples: led, length: Math.max(2, ...led.map((e) => e.ids.length)) }
}

/**
 * Dummy tokens in front of every text, for methods that replace what the model makes of them: masks, positions and shapes come
 * out right in any graph. They differ from padding, since some models read the mask off the ids.
 */
function afterVirtual({ ids, tokenLabels, ...rest }: Example, { count, predictive }: VirtualTokens, pad: number): Example {
  const fill = (value: number) => new Array<number>(count).fill(value)
  const labels = predictive ? tokenLabels : tokenLabels?.map((l, i) => (i === 0 ? -100 : l))
  return { ...rest, ids: [...fill(pad === 0 ? 1 : 0), ...ids], ...(labels ? { tokenLabels: [...fill(-100), ...labels] } : {}) }
}

/** How each input a model may ask for is made from a batch, [batch, length] unless said otherwise. */
const fillers: Record<string, (batch: Batch, pad: number, shape: readonly (number | string)[]) => Tensors[string]> = {
  input_ids: (b, pad) => padded(b, (ids, s) => ids[s] ?? pad),
  attention_mask: (b) => padded(b, (ids, s) => Number(s < ids.length)),
  position_ids: (b) => padded(b, (_, s) => s),
  token_type_ids: (b) => padded(b, () => 0),
  pixel_values: ({ examples }, _, shape) => {
    const each = (shape.slice(1) as number[]).reduce((a, n) => a * n, 1)
    const data = new Float32Array(examples.length * each)
    examples.forEach((e, i) => e.pixels && data.set(e.pixels, i * each))
    return float32(data, [examples.length, ...(shape.slice(1) as number[])])
  },
}

function padded({ examples, length }: Batch, at: (ids: readonly number[], s: number) => number): Tensors[string] {
  const values = new Array<number>(examples.length * length)
  examples.forEach(({ ids }, b) => {
    for (let s = 0; s < length; s++) values[b * length + s] = at(ids, s)
  })
  return int64(values, [examples.length, length])
}

/** The model's own inputs for a batch. Throws UNKNOWN_INPUT for an input Graft can't fill. */
export function modelFeeds(inputs: readonly Value[], batch: Batch, pad: number): Tensors {
  return Object.fromEntries(inputs.map(({ name, shape }) => [name, filler(name)(batch, pad, shape ?? [])]))
}
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
