import {
  type Bindings,
  bytesOf,
  elements,
  evaluate,
  fileOrder,
  flopsOf,
  type Graph,
  packedCopies,
  packsFreely,
  planMemory,
  type Value,
} from '@graft-peft/onnx'
import type { Adapted } from './adapt.js'

/** What a step will take, in bytes, and how much work it is. */
export interface Forecast {
  /** frozen weights, mapped from their files */
  weights: number
  /** how many numbers they are */
  frozen: number
  /** values alive at once, as ONNX Runtime's arena holds them */
  activations: number
  /** trained parameters, the optimiser's state, their successors or gradients */
  state: number
  /** Node, ONNX Runtime and the compiled graph */
  runtime: number
  /** what evaluating takes beside a step; where the two take turns, what it takes more */
  evaluation: number
  /** the sum: the process at its largest */
  peak: number
  /** floating-point operations of one run */
  flops: number
}

/** Node with Graft and ONNX Runtime loaded; per operator of the graph (measured: docs/performance.md). */
const runtimeBytes = { base: 133e6, node: 9e3, thread: 12e6 }
/** What the operating system maps around a row that is looked up. */
const window = 2 ** 16

export interface ForecastOptions {
  /** vectors of the optimiser, each as long as the parameters */
  stateVectors: number
  /** whether ONNX Runtime keeps packed copies of the weights, as a session takes it */
  prepack?: boolean
}

/** Foretells memory and work of a compiled step from its graph alone, for batches of these sizes. */
export function forecast(
  graph: Graph,
  sizes: Bindings,
  { variables, state: own }: Adapted,
  { stateVectors, prepack }: ForecastOptions,
): Forecast {
  const { weights, activations } = heldBy(graph, sizes, prepack)
  const vector = 4 * variables.total
  // Beside the graph the vectors stay where they are and one gradient comes back; in it each vector has a successor, which is copied out
  // of the session while the vector before it waits to be collected.
  const state = variables.separate
    ? vector * (2 + stateVectors)
    : 4 * (vector * (1 + stateVectors) + 4 * (own?.total ?? 0))
  const runtime = runtimeBytes.base + runtimeBytes.node * graph.nodes.size
  let flops = 0
  for (const node of graph.nodes) flops += flopsOf(node, sizes)
  const frozen = graph
    .constants()
    .reduce((sum, v) => sum + (v.data && 'file' in v.data ? elements(v.shape as number[]) : 0), 0)
  return {
    weights,
    frozen,
    activations,
    state,
    runtime,
    evaluation: 0,
    peak: weights + activations + state + runtime,
    flops,
  }
}

/** What a session of a graph holds: its weights as far as they are read, and its arena. */
function heldBy(
  graph: Graph,
  sizes: Bindings,
  prepack = packsFreely(graph),
): Pick<Forecast, 'weights' | 'activations'> {
  const held = prepack ? packedBytes : residentBytes
  const weights = withoutTwins(graph.constants()).reduce((sum, v) => sum + held(v, sizes), 0)
  return { weights, activations: planMemory(fileOrder(graph), graph.outputs, sizes).arena }
}

/** Bytes that a session for the forward pass alone takes on batches of these sizes. */
export function forecastForward(graph: Graph, sizes: Bindings, prepack?: boolean): number {
  const { weights, activations } = heldBy(graph, sizes, prepack)
  return weights + activations + runtimeBytes.thread + runtimeBytes.node * graph.nodes.size
}

/** A step's forecast with evaluations in between, which hold `bytes`: beside the step's session, or in turns with it. */
export function withEvaluation(step: Forecast, bytes: number, inTurns: boolean): Forecast {
  const held = step.weights + step.activations + step.runtime - runtimeBytes.base
  const evaluation = inTurns ? Math.max(0, bytes - held) : bytes
  return { ...step, evaluation, peak: step.peak + evaluation }
}

/** Bytes of a file that are read under two types, as 4-bit blocks are, are mapped once. */
function withoutTwins(constants: readonly Value[]): Value[] {
  const read = new Set<string>()
  return constants.filter(({ data }) => {
    if (!data || !('file' in data)) return true
    const place = `${data.offset} ${data.length} ${data.file}`
    return !read.has(place) && read.add(place)
  })
}
/** With the copies that kernels pack, and without the constant where nothing else reads it. */
function packedBytes(v: Value, sizes: Bindings): number {
  const { copies, stays } = packedCopies(v)
  return copies * bytesOf(v, sizes) + (stays ? residentBytes(v, sizes) : 0)
}

/** Of a table that is only looked up in, the rows that a batch asks for. */
function residentBytes(v: Value, sizes: Bindings): number {
  const bytes = bytesOf(v, sizes)
  const readers = [...v.users]
  if (bytes < window || readers.length === 0 || !readers.every((n) => n.op === 'Gather' && n.inputs[0] === v))
    return bytes
  const lookups = readers.reduce((sum, n) => sum + lookupsOf(n.inputs[1] as Value, sizes), 0)
  return Math.min(bytes, lookups * window)
}
/** A table in parts is asked in each for all rows, those outside it at its edge: here each has its share of them. */
function lookupsOf(rows: Value, sizes: Bindings): number {
  const count = (rows.shape ?? []).reduce<number>((a, d) => a * (evaluate(d, sizes) ?? 1), 1)
  const all = rows.producer?.op === 'Clip' ? rows.producer.inputs[0]?.producer?.inputs[0] : undefined
  const parts = all ? [...all.users].filter((n) => n.op === 'Sub').length : 1
  return Math.ceil(count / parts)
}
