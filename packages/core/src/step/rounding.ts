import {
  type Builder,
  type FrozenProduct,
  type IntegerOptions,
  productOf,
  shapeOf,
  type Value,
} from '@graft-peft/onnx'
import { everything, type IntegerPlan } from '../compile/precision.js'
import { compileWatched } from '../compile/step.js'
import { columnsOf, rowRanges } from '../model/eight-bits.js'
import { saturates } from '../runtime/integers.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { float32, numbers } from '../runtime/tensor.js'
import { Step } from './step.js'

/** What rounding does to a product's result on a batch: ‖error‖ / ‖result‖. */
export type Errors = Record<string, number>
export interface Rounding {
  plan: IntegerPlan
  /** with the plan; of products in float32, what it would be */
  errors: Errors
}

/**
 * Products of what is normally distributed are off by 0.01. One that is off by more than the first is
 * smoothed; one that still is by more than the second stays in float32.
 */
const limits = { smoothed: 0.015, rounded: 0.05 }
/** Columns of each result that are computed in float32 as well. */
const sampled = 16

/**
 * Looks how well a step's products bear 8 bits, on its sample. Activations of large models have columns far
 * greater than the rest (LLM.int8(): Dettmers et al., 2022, arXiv 2208.07339), whose range leaves the rest
 * few levels. Where that shows, scale is moved from the activations' columns to the matrix's rows, which
 * changes nothing but the rounding (SmoothQuant: Xiao et al., 2023, arXiv 2211.10438, α = ½); where it
 * doesn't help, the product stays in float32.
 */
export async function surveyRounding(step: Step, session: SessionOptions): Promise<Rounding> {
  const plain = { ...everything, levels: (await saturates()) ? 63 : 127 }
  const first = await measure(step, plain, session)
  const tried = smoothed(first)
  const second = tried.size > 0 ? await measure(step, { ...plain, smoothing: tried }, session) : first
  const groups = new Set(first.map((p) => p.group))
  const helped = new Set([...groups].filter((g) => total(second, g) < worthwhile * total(first, g)))
  const measured = first.map((p, i) => (helped.has(p.group) ? second[i] : p))
  const poor = measured.filter((p) => !(p.error <= limits.rounded))
  const wide = new Set(poor.map((p) => p.name))
  const kept = measured.filter((p) => helped.has(p.group) && tried.has(p.name) && !wide.has(p.name))
  const smoothing = new Map(kept.map(({ name }) => [name, tried.get(name) as Float32Array]))
  return { plan: { ...plain, wide, smoothing }, errors: errorsOf(measured) }
}
/** Smoothing is another pass over the activations: it has to take a tenth off the error. */
const worthwhile = 0.9
const total = (measured: readonly Measured[], group: number): number =>
  measured.reduce((sum, p) => sum + (p.group === group ? p.error : 0), 0)

/** A product as it was measured. */
interface Measured extends Pick<FrozenProduct, 'name' | 'weight' | 'turned'> {
  /** the value that it reads: products of one number share it */
  group: number
  error: number
  /** greatest magnitude of each column of its activations */
  ranges: Float32Array
}
const errorsOf = (measured: readonly Measured[]): Errors => {
  const errors: Errors = {}
  for (const { name, error } of measured) errors[name] = Math.max(errors[name] ?? 0, error)
  return errors
}

/**
 * A vector for each value that some product rounds badly, for all products that read it: they go on sharing
 * what is rounded.
 */
function smoothed(all: readonly Measured[]): Map<string, Float32Array> {
  const found = new Map<string, Float32Array>()
  for (const group of new Set(all.filter((p) => !(p.error <= limits.smoothed)).map((p) => p.group))) {
    const members = all.filter((p) => p.group === group)
    const weights = members.map(rowRanges).reduce((a, b) => a.map((v, i) => Math.max(v, b[i])))
    const { ranges } = members[0]
    const floor = 1e-5 * ranges.reduce((a, b) => Math.max(a, b), tiny)
    const factors = ranges.map((x, i) => Math.sqrt(Math.max(x, floor) / Math.max(weights[i], 1e-8)))
    for (const { name } of members) found.set(name, factors)
  }
  return found
}

/** Runs the gradients' graph on the sample, and each product's sampled columns in float32 beside it. */
async function measure(step: Step, plan: IntegerPlan, options: SessionOptions): Promise<Measured[]> {
  const trial = Step.of(step.base, { ...step.attaching, integers: plan }, step.settings)
  const watched = new Watched(trial.adapted.integers as IntegerOptions)
  const { memory: mode } = trial.settings
  const graph = compileWatched(trial.adapted, { mode, sizes: trial.sizes() }, () => watched.outputs())
  if (watched.count === 0) return []
  const part = trial.part(trial.settings.sample)
  const { variables, state } = trial.adapted
  const { seed = 0 } = trial.attaching
  const session = await Session.open(graph, options)
  graph.clear()
  try {
    const outputs = await session.run({
      ...trial.feeds(part, { t: 1, rate: 0, k: 0, parts: 1, count: part.supervision.count }),
      ...variables.tensors(variables.initial(seed)),
      ...(state ? { [state.vector]: float32(state.initial(seed)) } : {}),
    })
    return watched.read(numbers(outputs.errors), outputs.ranges.data as Float32Array)
  } finally {
    await session.close()
  }
}

/** Values that say how far each product is off. */
class Watched {
  private readonly products: FrozenProduct[] = []
  /** two numbers a product: the squared error's sum, and that of the exact result */
  private readonly energies: Value[] = []
  /** greatest magnitudes of each column, per value that products read */
  private readonly ranges = new Map<Value, Value>()
  private readonly groups: number[] = []
  private g?: Builder

  constructor(integers: IntegerOptions) {
    integers.watch = (g, product, y) => this.watch(g, product, y)
  }

  private watch(g: Builder, product: FrozenProduct, y: Value): Value {
    this.g = g
    const n = product.weight.shape[product.turned ? 0 : 1]
    const count = Math.min(sampled, n)
    const picks = Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * n) / count))
    const [x, rows] = [product.x, y].map((v) =>
      g.reshape(v, [productOf(shapeOf(v).slice(0, -1)), shapeOf(v).at(-1) as number]),
    )
    const columns = columnsOf(product, picks)
    const exact = g.matMul(x, constantOf(g, `${product.name}.sampled`, columns, count))
    const found = g.op('Gather', [rows, g.ints(picks)], { axis: 1 })
    const energies = [g.sub(found, exact), exact].map((v) => g.reshape(g.sumAll(g.square(v)), [1]))
    const ranges = this.ranges.get(product.x) ?? g.reduce('ReduceMax', g.abs(x), [0], false)
    this.ranges.set(product.x, ranges)
    this.products.push(product)
    this.energies.push(...energies)
    this.groups.push([...this.ranges.keys()].indexOf(product.x))
    // What is read on depends on what was found, so that it is found now: at the end, all activations would
    // still have to be there.
    const seen = g.add(energies[0], g.op('ReduceMax', [ranges], { keepdims: 1 }))
    return g.add(y, g.scale(seen, 0))
  }

  get count(): number {
    return this.products.length
  }
  outputs(): Record<string, Value> {
    if (this.count === 0) return {}
    const g = this.g as Builder
    return { errors: g.concat(this.energies, 0), ranges: g.concat([...this.ranges.values()], 0) }
  }

  read(errors: readonly number[], ranges: Float32Array): Measured[] {
    let at = 0
    const perGroup = [...this.ranges.values()].map((v) => {
      const from = at
      at += v.shape?.[0] as number
      return ranges.subarray(from, at)
    })
    return this.products.map(({ name, weight, turned }, i) => ({
      name,
      weight,
      turned,
      group: this.groups[i],
      error: Math.sqrt(errors[2 * i] / Math.max(errors[2 * i + 1], tiny)),
      ranges: perGroup[this.groups[i]],
    }))
  }
}
const tiny = 1e-30
const constantOf = (g: Builder, name: string, values: Float32Array, columns: number): Value =>
  g.graph.addConstant(name, {
    dtype: 'float32',
    shape: [values.length / columns, columns],
    data: { bytes: new Uint8Array(values.buffer) },
  })
