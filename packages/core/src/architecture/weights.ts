import { type Builder, type DType, type Value } from '@graft-peft/onnx'
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
}

/** A checkpoint's tensors as constants of a graph: float32 whatever their type on disk, where they stay. */
export class Weights {
  private readonly made = new Map<string, Value>()

  constructor(
    private readonly g: Builder,
    private readonly source: TensorSource,
    private readonly names: Names,
    private readonly seed: number,
  ) {}

  has(parameter: string): boolean {
    return this.source.find(this.names(parameter)) !== undefined
  }

  /** The parameter `parameter` (its path in the model), which must have this shape. Throws MISSING_TENSOR or TENSOR_SHAPE. */
  get(parameter: string, shape: readonly number[], { init }: WeightOptions = {}): Value {
    const known = this.made.get(parameter)
    if (known) return known
    const value = this.cast(this.constant(parameter, shape, init))
    this.made.set(parameter, value)
    return value
  }

  private constant(parameter: string, shape: readonly number[], init: Initialiser | undefined): Value {
    const found = this.source.find(this.names(parameter), shape)
    // A head for other labels than the checkpoint's is a new head.
    if (!found || (init && `${found.shape}` !== `${shape}`)) return this.fresh(parameter, shape, init)
    const { dtype, file, offset, length } = found
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
    return this.g.graph.addConstant(parameter, { dtype: type, shape, data: { file, offset, length } })
  }

  /** A parameter that the checkpoint doesn't have, drawn by the run's seed and its own name. */
  private fresh(parameter: string, shape: readonly number[], init: Initialiser | undefined): Value {
    if (!init) {
      throw new GraftError(
        'MISSING_TENSOR',
        `${this.source.file}: tensor ${this.names(parameter)[0]} [${shape.join(', ')}] is missing. ${suggestion(parameter, this.source.names)}`,
      )
    }
    const values = (parameter.endsWith('.bias') ? zeros : init)(shape, new Random(this.seed, parameter))
    return this.g.graph.addConstant(parameter, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(values.buffer) },
    })
  }

  private cast(stored: Value): Value {
    return this.g.cast(stored, 'float32')
  }
}
