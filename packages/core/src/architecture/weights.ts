import { closeSync, openSync, readSync } from 'node:fs'
import { type Builder, type DType, floatValues, type Value } from '@graft-peft/onnx'
import type { LocatedTensor } from '../files/safetensors.js'
import { GraftError, suggestion } from '../errors.js'
import { type Initialiser, zeros } from '../numbers/initialise.js'
import { Random } from '../numbers/random.js'
import type { TensorSource } from './checkpoint.js'

/** How float types of a checkpoint are called in a graph. */
const dtypes: Partial<Record<LocatedTensor['dtype'], DType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
}

/** A parameter's names in a checkpoint, most likely first. */
export type Names = (parameter: string) => readonly string[]

export interface WeightOptions {
  /** what it starts from where the checkpoint has none: a new head's parameter. Without it a missing tensor is an error. */
  init?: Initialiser
  /** the shape that the graph is to see */
  as?: readonly number[]
  /** one of the equal parts of that shape that a stored tensor is stacked of along its first axis; [1, …] where `as` is left out */
  part?: number
}

/**
 * A checkpoint's tensors as constants of a graph: float32 whatever their type on disk, where they stay.
 *
 * @throws MISSING_TENSOR for a parameter that the checkpoint lacks, TENSOR_SHAPE for one of another shape than
 * config.json makes it, UNSUPPORTED_TYPE for one that isn't of floating-point numbers.
 */
export class Weights {
  private readonly made = new Map<string, Value>()
  private readonly read = new Set<string>()
  /** parameters of a head that the checkpoint doesn't have, or has for other labels: name and what it is */
  readonly created: { name: string; says: string }[] = []

  constructor(
    private readonly g: Builder,
    private readonly source: TensorSource,
    private readonly names: Names,
    private readonly seed: number,
    /** rows of what has one per token, where the checkpoint may have fewer */
    private readonly vocabulary?: number,
  ) {}

  has(parameter: string): boolean {
    return this.names(parameter).some((name) => this.source.find(name) !== undefined)
  }
  /** Tensors of the checkpoint that nothing has asked for. */
  get unread(): string[] {
    return this.source.names.filter((name) => !this.read.has(name))
  }

  /** The parameter `parameter` (its path in the model), which must have this shape. */
  get(parameter: string, shape: readonly number[], options: WeightOptions = {}): Value {
    const name = options.part === undefined ? parameter : `${parameter}.${options.part}`
    const known = this.made.get(name)
    if (known) return known
    const value = this.g.cast(this.constant(parameter, shape, name, options), 'float32')
    this.made.set(name, value)
    return value
  }

  /**
   * A parameter that config.json ties to another: that other one, unless the checkpoint holds both and they differ, as transformers 5 does
   * (PreTrainedModel.tie_weights).
   */
  tied(parameter: string, to: string, shape: readonly number[]): Value {
    const [own, other] = [this.locate(parameter), this.locate(to)]
    return own && other && !sameBytes(own, other) ? this.get(parameter, shape) : this.get(to, shape)
  }

  private locate(parameter: string, shape?: readonly number[]): LocatedTensor | undefined {
    for (const name of this.names(parameter)) {
      const found = this.source.find(name, shape)
      if (found) this.read.add(name)
      if (found) return found
    }
    return undefined
  }
  private constant(
    parameter: string,
    shape: readonly number[],
    name: string,
    { init, part, as }: WeightOptions,
  ): Value {
    const found = this.locate(parameter, shape)
    // A head for other labels than the checkpoint's is a new head.
    if (!found || (init && `${found.shape}` !== `${shape}`)) return this.fresh(parameter, shape, init, found)
    const { dtype, file, offset, length } = found
    if (
      found.shape[0] < shape[0] &&
      shape[0] === this.vocabulary &&
      `${found.shape.slice(1)}` === `${shape.slice(1)}`
    )
      return this.grown(parameter, shape, found)
    if (`${found.shape}` !== `${shape}`)
      throw new GraftError(
        'TENSOR_SHAPE',
        `${file}: ${parameter} is [${found.shape.join(', ')}]; config.json makes it [${shape.join(', ')}]. Config and weights belong to different models.`,
      )
    const type = dtypes[dtype]
    if (!type)
      throw new GraftError(
        'UNSUPPORTED_TYPE',
        `${file}: ${parameter} is ${dtype}; weights can be ${Object.keys(dtypes).join(', ')}.`,
      )
    const seen = as ?? (part === undefined ? shape : [1, ...shape.slice(1)])
    const size = (length * elements(seen)) / elements(shape)
    const data = { file, offset: offset + (part ?? 0) * size, length: size }
    return this.g.graph.addConstant(name, { dtype: type, shape: seen, data })
  }

  /** A parameter with a row per token, of a vocabulary that has grown: new rows are the mean of the old. */
  private grown(parameter: string, shape: readonly number[], { dtype, ...found }: LocatedTensor): Value {
    const type = dtypes[dtype] ?? 'float32'
    const old = floatValues({ dtype: type, shape: found.shape, data: found }) as Float32Array
    const width = old.length / found.shape[0]
    const mean = Array.from({ length: width }, (_, j) => {
      let sum = 0
      for (let i = j; i < old.length; i += width) sum += old[i]
      return sum / found.shape[0]
    })
    const values = new Float32Array(shape[0] * width)
    values.set(old)
    for (let i = old.length; i < values.length; i++) values[i] = mean[i % width]
    return this.g.graph.addConstant(parameter, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(values.buffer) },
    })
  }

  /** A parameter that the checkpoint doesn't have, drawn by the run's seed and its own name. */
  private fresh(
    parameter: string,
    shape: readonly number[],
    init: Initialiser | undefined,
    other: LocatedTensor | undefined,
  ): Value {
    if (!init) {
      throw new GraftError(
        'MISSING_TENSOR',
        `${this.source.file}: tensor ${this.names(parameter)[0]} [${shape.join(', ')}] is missing. ${suggestion(parameter, this.source.names)}`,
      )
    }
    const stored = other ? ` (the checkpoint's is [${other.shape.join(', ')}])` : ''
    this.created.push({ name: parameter, says: `[${shape.join(', ')}]${stored}` })
    const values = (parameter.endsWith('.bias') ? zeros : init)(shape, new Random(this.seed, parameter))
    return this.g.graph.addConstant(parameter, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(values.buffer) },
    })
  }
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
const chunk = 2 ** 22
/** Whether two tensors hold the same numbers; read piece by piece, to the first that differs. */
function sameBytes(a: LocatedTensor, b: LocatedTensor): boolean {
  if (a.dtype !== b.dtype || a.length !== b.length) return false
  const files = [a, b].map(({ file }) => openSync(file, 'r'))
  const [left, right] = [Buffer.alloc(chunk), Buffer.alloc(chunk)]
  try {
    for (let at = 0; at < a.length; at += chunk) {
      const size = Math.min(chunk, a.length - at)
      readSync(files[0], left, 0, size, a.offset + at)
      readSync(files[1], right, 0, size, b.offset + at)
      if (left.compare(right, 0, size, 0, size) !== 0) return false
    }
    return true
  } finally {
    for (const file of files) closeSync(file)
  }
}
