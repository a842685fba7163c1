import { readBytes } from '@graft-peft/onnx'
import { GraftError } from '../../errors.js'
import { floatsOf, type LocatedTensor } from '../../files/safetensors.js'
import type { Settings } from '../settings.js'

/** How unpacked numbers are kept. */
export type Kept = 'F32' | 'F16' | 'BF16'

/** A parameter that others packed: what it is made of, and its numbers. */
export interface Packed {
  /** its name in the model */
  name: string
  shape: readonly number[]
  /** tensors of the file that it is made of */
  parts: readonly string[]
  /** the type that it is kept in, where that isn't every parameter's */
  dtype?: Kept
  /** its numbers, row by row, some rows at a time */
  values(): Iterable<Float32Array>
}
/** How one tool packs weights. */
export interface Scheme {
  /** what it is, for people, as "GPTQ, 4 bits in groups of 128" */
  about: string
  packed: readonly Packed[]
}
/** Finds what a tool packed; `config` is quantization_config. */
export type Unpacker = (stored: Stored, config: Settings) => Scheme

/** Numbers that are unpacked at once. */
const chunk = 2 ** 20

/** The tensors of a packed checkpoint, each read with its type and shape checked. */
export class Stored {
  constructor(
    readonly file: string,
    readonly tensors: ReadonlyMap<string, LocatedTensor>,
  ) {}
  has(name: string): boolean {
    return this.tensors.has(name)
  }
  /** What stands before `ending` in the names that end so. */
  before(ending: string): string[] {
    return [...this.tensors.keys()].filter((n) => n.endsWith(ending)).map((n) => n.slice(0, -ending.length))
  }
  /** Those of these names that there are. */
  present(...names: readonly string[]): string[] {
    return names.filter((name) => this.has(name))
  }
  /** @throws BAD_PACKED_WEIGHTS where there is none of this name, or it has another type or number of axes. */
  at(name: string, dtypes: readonly LocatedTensor['dtype'][], axes?: number): LocatedTensor {
    const found = this.tensors.get(name)
    if (!found) throw this.wrong(name, `${dtypes.join(' or ')}, and is missing`)
    if (!dtypes.includes(found.dtype) || (axes !== undefined && found.shape.length !== axes))
      throw this.wrong(
        name,
        `${dtypes.join(' or ')}${axes === undefined ? '' : ` of ${axes} axes`}, and is ${found.dtype}[${found.shape}]`,
      )
    return found
  }
  /** @throws BAD_PACKED_WEIGHTS for another type or shape. */
  bytes(name: string, dtypes: readonly LocatedTensor['dtype'][], shape: readonly number[]): Uint8Array {
    const found = this.at(name, dtypes)
    if (`${found.shape}` !== `${shape}`)
      throw this.wrong(name, `[${shape.join(', ')}], and is [${found.shape.join(', ')}]`)
    return new Uint8Array(readBytes(found))
  }
  words(name: string, shape: readonly number[]): Int32Array {
    return new Int32Array(this.bytes(name, ['I32'], shape).buffer)
  }
  floats(name: string, shape: readonly number[] = this.at(name, scaleTypes).shape): Float32Array {
    const data = this.bytes(name, scaleTypes, shape)
    const { dtype } = this.at(name, scaleTypes)
    // Powers of two alone: 8 bits of exponent.
    if (dtype === 'F8_E8M0') return Float32Array.from(data, (byte) => 2 ** (byte - 127))
    return floatsOf({ dtype, data }, name)
  }
  wrong(name: string, expected: string): GraftError {
    return new GraftError(
      'BAD_PACKED_WEIGHTS',
      `${this.file}: ${name} should be ${expected}. quantization_config and the weights belong to different models, or the file is damaged.`,
    )
  }
}
/** How scales are stored. */
export const scaleTypes = ['F32', 'F16', 'BF16', 'F64', 'F8_E8M0'] as const

/** A matrix made row by row, some rows at a time. */
export function* byRows(
  [rows, columns]: readonly number[],
  fill: (row: Float32Array, r: number) => void,
): Iterable<Float32Array> {
  const step = Math.max(1, Math.floor(chunk / Math.max(1, columns)))
  for (let first = 0; first < rows; first += step) {
    const values = new Float32Array(Math.min(step, rows - first) * columns)
    for (let i = 0; i * columns < values.length; i++)
      fill(values.subarray(i * columns, (i + 1) * columns), first + i)
    yield values
  }
}

/** Bits of a number that fill words of 32 evenly. Throws UNKNOWN_PACKING for others. */
export function evenBits(config: Settings, bits: number, tool: string): number {
  if ([2, 4, 8].includes(bits)) return bits
  throw unknownPacking(config.file, `${tool} with ${bits} bits`, '2, 4 and 8 bits')
}

export const unknownPacking = (file: string, what: string, known: string): GraftError =>
  new GraftError(
    'QUANTISED_CHECKPOINT',
    `${file}: the weights are packed by ${what}, which is not read here; ${known} are. Give the model in float32, float16 or bfloat16; quantize: int4 packs the base itself.`,
  )

/** The group of each input, in order or as a tensor says. Throws BAD_PACKED_WEIGHTS for one that there isn't. */
export function groupsOf(
  stored: Stored,
  index: string,
  inputs: number,
  groups: number,
  size: number,
): Int32Array {
  if (!stored.has(index)) return Int32Array.from({ length: inputs }, (_, i) => Math.floor(i / size))
  const own = stored.words(index, [inputs])
  if (own.some((g) => g < 0 || g >= groups)) throw stored.wrong(index, `numbers of its ${groups} groups`)
  return own
}
