import { type Builder, elements, floatValues, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import type { WeightSlot } from '../model/site.js'
import { float32, type Tensors } from '../runtime/tensor.js'
import { parameterName, variableTensors } from '../runtime/variable-tensors.js'
import { Random } from '../numbers/random.js'
import { type Initialiser, transpose } from '../numbers/initialise.js'

/**
 * The frozen parameter's own numbers, in torch's orientation, as a start.
 *
 * @throws NOT_TRAINABLE, when they are drawn, for a parameter that is computed, packed or in whole numbers.
 */
export function copyOf(slot: WeightSlot): Initialiser {
  // Asked for now: once the slot is mapped to a variable, what was there is out of its sight.
  const read = slot.reader()
  const { constant, name, transposed, shape } = slot
  return () => {
    const stored = read()
    if (!stored)
      throw new GraftError(
        'NOT_TRAINABLE',
        `Parameter ${name} can't be trained: it is ${constant?.dtype ?? 'computed'}, floating-point numbers are needed.`,
      )
    return transposed ? transpose(stored, shape[1], shape[0]) : stored
  }
}

/**
 * The numbers of a frozen float32 tensor: of a buffer those its file holds, or those it was made with.
 *
 * @throws NOT_CONSTANT for a value that is computed as the graph runs.
 */
export function numbersIn({ name, data, dtype, shape }: Value): Float32Array {
  const found = data && dtype && floatValues({ data, dtype, shape: shape as readonly number[] })
  if (found) return found
  throw new GraftError('NOT_CONSTANT', `${name} has no numbers before the graph runs.`)
}

/** Shape and first values of a variable; its type is float32. */
export interface VariableOptions {
  shape: readonly number[]
  init: Initialiser
  /** learning rate relative to the run's (LoRA+) */
  lrScale?: number
  /** key in the adapter's file, where that isn't base_model.model. + name */
  key?: string
}
/** How a frozen tensor of an adapter is made and kept. */
export interface BufferOptions extends VariableOptions {
  /** how the file holds it; false: not at all, it follows from the config or the base model */
  stored: 'F32' | 'I32' | 'I64' | false
  /** whether what `save` computes under its key is written in its place: a start that training moved away from */
  replaced?: boolean
}
/** What a tensor starts from. Throws BAD_METHOD for an `init` that gives another number of values than the shape has. */
export function initialised(
  { name, shape, init }: Pick<VariableOptions, 'shape' | 'init'> & { name: string },
  seed: number,
): Float32Array {
  const data = init(shape, new Random(seed, name))
  if (data instanceof Float32Array && data.length === elements(shape)) return data
  const got =
    data instanceof Float32Array ? `${data.length} numbers` : `a ${(data as object)?.constructor?.name}`
  throw new GraftError(
    'BAD_METHOD',
    `The init of ${name} gave ${got}; shape [${shape.join(', ')}] needs a Float32Array of ${elements(shape)}. This is a fault of the method's package.`,
  )
}

/** A trainable tensor: a range of the flat parameter vector. `name` is its key in the adapter file, without HF's prefix. */
export interface Variable extends VariableOptions {
  name: string
  offset: number
  size: number
  value: Value
}
/** A frozen tensor of an adapter, a constant of its graph. */
export interface FrozenTensor extends BufferOptions {
  name: string
  data: Float32Array
  value: Value
}

/** Tensors of a run laid out one after another in a single flat vector: the trainable ones, or the state of a method. */
export class Variables {
  readonly list: Variable[] = []
  /** the flat vector, an input of the compiled graph */
  readonly flat: Value
  total = 0

  constructor(
    private readonly g: Builder,
    readonly vector: string,
    /** whether each variable is an input of its own instead of a slice of the flat one */
    readonly separate = false,
  ) {
    this.flat = g.graph.addInput(vector, 'float32', [vector])
  }

  /** Declares a variable; the same name again gives the same variable (a module called twice has one adapter). */
  readonly param = (name: string, options: VariableOptions): Value => {
    const known = this.list.find((v) => v.name === name)
    if (known && `${known.shape}` !== `${options.shape}`)
      throw new GraftError(
        'VARIABLE_CLASH',
        `Variable ${name} is declared twice, as [${known.shape}] and as [${options.shape}].`,
      )
    if (known) return known.value
    const size = elements(options.shape)
    const offset = this.total
    this.total += size
    const { g } = this
    if (size === 0)
      return this.declare({ ...options, name, offset, size, value: g.constant('float32', [], options.shape) })
    if (this.separate)
      return this.declare({
        ...options,
        name,
        offset,
        size,
        value: g.graph.addInput(parameterName(this.list.length), 'float32', options.shape),
      })
    const part = g.op('Slice', [this.flat, g.ints([offset]), g.ints([offset + size]), g.ints([0])])
    return this.declare({ ...options, name, offset, size, value: g.reshape(part, options.shape) })
  }
  private declare(variable: Variable): Value {
    this.list.push(variable)
    return variable.value
  }

  /** The flat vector's size is known once all variables are declared. */
  close(): void {
    this.flat.shape = [this.total]
  }

  /** What a graph is fed for a flat vector. */
  tensors(flat: Float32Array): Tensors {
    return this.separate ? variableTensors(flat, this.list) : { [this.vector]: float32(flat) }
  }

  initial(seed: number): Float32Array {
    const flat = new Float32Array(this.total)
    for (const variable of this.list) flat.set(initialised(variable, seed), variable.offset)
    return flat
  }
  /** The variable that `param` returned this value for. */
  find(value: Value): Variable {
    const variable = this.list.find((v) => v.value === value)
    if (!variable)
      throw new GraftError('VARIABLE_MISSING', `${value.name} is not a variable of ${this.vector}.`)
    return variable
  }
  /** A variable's part of a flat vector. */
  read(flat: Float32Array, value: Value): Float32Array {
    const { offset, size } = this.find(value)
    return flat.subarray(offset, offset + size)
  }
}
