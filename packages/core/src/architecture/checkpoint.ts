import { existsSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'
import { GraftError } from '../errors.js'
import { isObject, readObject } from '../files/json.js'
import { type LocatedTensor, locateTensors } from '../files/safetensors.js'
import { unpack } from './packed/unpack.js'

const single = 'model.safetensors'
const index = 'model.safetensors.index.json'

/** Whether a folder holds weights as Hugging Face's transformers saves them, whole or in shards. */
export const hasCheckpoint = (folder: string): boolean =>
  [single, index].some((name) => existsSync(join(folder, name)))

/** Where a model's tensors are found. */
export interface TensorSource {
  /** the file that names the source in messages */
  readonly file: string
  /** names of the tensors there are */
  readonly names: readonly string[]
  /** what is worth telling of how it was read */
  readonly notice?: string
  /** the tensor of this name, if there is one */
  find(name: string, shape?: readonly number[]): LocatedTensor | undefined
}

/** Tensors that are nowhere, of whatever shape a model asks for: enough to compile it and to plan, not to run. */
export class Imagined implements TensorSource {
  readonly names = []
  readonly notice = undefined
  /** where each would begin, one behind the other: bytes at one place count once */
  private readonly places = new Map<string, number>()
  private end = 0
  constructor(
    readonly file: string,
    private readonly dtype: LocatedTensor['dtype'],
  ) {}
  find(name: string, shape?: readonly number[]): LocatedTensor | undefined {
    if (!shape) return undefined
    const length = shape.reduce((a, b) => a * b, 1) * (this.dtype === 'F32' ? 4 : 2)
    const offset = this.places.get(name) ?? this.end
    this.places.set(name, offset)
    this.end = Math.max(this.end, offset + length)
    return { dtype: this.dtype, shape, file: this.file, offset, length }
  }
}

/** A model's weights on disk: only headers are read, tensors stay where they lie. */
export class Checkpoint implements TensorSource {
  private constructor(
    readonly file: string,
    readonly tensors: ReadonlyMap<string, LocatedTensor>,
    /** what its weights were unpacked from, where others packed them */
    readonly notice?: string,
  ) {}
  get names(): string[] {
    return [...this.tensors.keys()]
  }
  find(name: string): LocatedTensor | undefined {
    return this.tensors.get(name)
  }

  /**
   * A folder's weights; those that config.json says are packed are unpacked into the cache.
   *
   * @throws NO_WEIGHTS, BAD_SHARDS, and what reading a safetensors header and unpacking throw.
   */
  static open(folder: string, config: Readonly<Record<string, unknown>>): Checkpoint {
    const { file, tensors: stored } = storedIn(folder)
    const { tensors, notice } = unpack(file, stored, config)
    return new Checkpoint(file, tensors, notice)
  }
}

function storedIn(folder: string): { file: string; tensors: Map<string, LocatedTensor> } {
  const whole = join(folder, single)
  if (existsSync(whole)) return { file: whole, tensors: locateTensors(whole).tensors }
  const sharded = join(folder, index)
  if (existsSync(sharded)) return { file: sharded, tensors: shards(folder, sharded) }
  throw new GraftError('NO_WEIGHTS', `${folder}: neither ${single} nor ${index} is there.`)
}

/** The tensors of all shards that an index names; each must lie in the folder, and each tensor in the shard that the index says. */
function shards(folder: string, path: string): Map<string, LocatedTensor> {
  const map = weightMap(path)
  const opened = new Map<string, Map<string, LocatedTensor>>()
  for (const name of new Set(Object.values(map))) {
    const file = resolve(folder, name)
    if (!file.startsWith(resolve(folder) + sep))
      throw new GraftError(
        'ESCAPING_PATH',
        `${path}: shard ${name} points outside the model's folder. Refused.`,
      )
    if (!existsSync(file))
      throw new GraftError('BAD_SHARDS', `${path}: shard ${name} is missing. Fetch the model again.`)
    opened.set(name, locateTensors(file).tensors)
  }
  return new Map(
    Object.entries(map).map(([tensor, name]) => {
      const found = opened.get(name)?.get(tensor)
      if (!found)
        throw new GraftError(
          'BAD_SHARDS',
          `${path}: tensor ${tensor} should lie in ${name}, which does not hold it. Fetch the model again.`,
        )
      return [tensor, found]
    }),
  )
}

function weightMap(path: string): Record<string, string> {
  const { weight_map: map } = readObject(path, 'BAD_SHARDS')
  if (!isObject(map) || !Object.values(map).every((v) => typeof v === 'string'))
    throw new GraftError(
      'BAD_SHARDS',
      `${path}: key weight_map, from tensor names to shard files, is missing.`,
    )
  return map as Record<string, string>
}
