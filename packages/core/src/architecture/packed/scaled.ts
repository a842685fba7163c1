import { halfToFloat } from '@graft-peft/onnx'
import type { Settings } from '../settings.js'
import {
  byRows,
  groupsOf,
  type Packed,
  scaleTypes,
  type Stored,
  type Unpacker,
  unknownPacking,
} from './packed.js'

/** The 256 numbers of 8 bits each, by type. Float8: Micikevicius et al., 2022, arXiv 2209.05433. */
const numbers = {
  F8_E4M3: Float32Array.from({ length: 256 }, (_, byte) => e4m3(byte)),
  F8_E5M2: halfToFloat(Uint16Array.from({ length: 256 }, (_, byte) => byte << 8)),
  I8: Float32Array.from({ length: 256 }, (_, byte) => (byte < 128 ? byte : byte - 256)),
} as const
function e4m3(byte: number): number {
  const [sign, exponent, fraction] = [byte & 128 ? -1 : 1, (byte >> 3) & 15, (byte & 7) / 8]
  if ((byte & 127) === 127) return Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7))
}
export const eightBits = ['F8_E4M3', 'F8_E5M2', 'I8'] as const

/** Rows and columns of a matrix that share a scale. */
type Block = readonly [number, number]

/**
 * The block that a tensor of scales is for: all, one row, part of a row, or what config.json says. Throws BAD_PACKED_WEIGHTS for a shape
 * that is none of these.
 */
function blockOf(stored: Stored, name: string, matrix: readonly number[], said?: Block): Block {
  const { shape } = stored.at(name, scaleTypes)
  const [rows, columns] = matrix
  const count = shape.reduce((a, b) => a * b, 1)
  const blocks = said?.map((size, axis) => Math.ceil(matrix[axis] / size))
  if (said && `${shape}` === `${blocks}`) return said
  if (count === 1) return [rows, columns]
  if (count === rows && shape[0] === rows) return [1, columns]
  if (!said && shape.length === 2 && shape[0] === rows && columns % shape[1] === 0)
    return [1, columns / shape[1]]
  throw stored.wrong(
    name,
    `scales of [${matrix.join(', ')}]${blocks ? ` in blocks, [${blocks.join(', ')}]` : ''}, and is [${shape.join(', ')}]`,
  )
}

/** A matrix of 8 bits a number with its scales, and zero points where there are any: (q − zero)·scale. */
export function scaledMatrix(stored: Stored, path: string, scale: string, said?: Block): Packed {
  const [weight, scales, zeros] = [`${path}.weight`, `${path}.${scale}`, `${path}.weight_zero_point`]
  const { dtype, shape } = stored.at(weight, eightBits, 2)
  const [height, width] = blockOf(stored, scales, shape, said)
  const across = Math.ceil(shape[1] / width)
  return {
    name: weight,
    shape,
    parts: [weight, ...stored.present(scales, zeros, ...activations.map((part) => `${path}.${part}`))],
    values() {
      const table = numbers[dtype as keyof typeof numbers]
      const bytes = stored.bytes(weight, eightBits, shape)
      const factors = stored.floats(scales)
      const offsets = stored.has(zeros)
        ? stored.bytes(zeros, ['I8'], stored.at(scales, scaleTypes).shape)
        : []
      return byRows(shape, (row, r) => {
        const first = Math.floor(r / height) * across
        for (let c = 0; c < row.length; c++) {
          const at = first + Math.floor(c / width)
          row[c] = (table[bytes[r * row.length + c]] - (numbers.I8[offsets[at]] ?? 0)) * factors[at]
        }
      })
    },
  }
}
/** Scales for rounding activations, which are never rounded here. */
const activations = ['activation_scale', 'input_scale', 'input_zero_point', 'output_scale']

/** Float8 with a scale for a block, an output or a matrix, as DeepSeek's and transformers' `fp8`. */
export const fp8: Unpacker = (stored, config) => {
  const block = config.numbersOf('weight_block_size', 2) as Block | undefined
  if (block?.some((size) => !Number.isSafeInteger(size) || size < 1))
    throw config.wrong('weight_block_size', 'two positive whole numbers', block)
  const packed = ['weight_scale_inv', 'weight_scale'].flatMap((scale) =>
    stored.before(`.${scale}`).map((path) => scaledMatrix(stored, path, scale, block)),
  )
  const what = block ? `in blocks of ${block.join(' × ')}` : 'with a scale a matrix or an output'
  return { about: `FP8, 8 bits ${what}`, packed }
}

/** compressed-tensors of vLLM's llm-compressor: integers or float8 of 8 bits, or integers of 4 or 8 in words. */
export const compressedTensors: Unpacker = (stored, config) => {
  const format = config.text('format', 'dense')
  if (!known.includes(format))
    throw unknownPacking(config.file, `compressed-tensors as ${format}`, known.join(', '))
  const bits = bitsOf(config)
  return {
    about: `compressed-tensors, ${format}, ${bits} bits`,
    packed: [
      ...stored.before('.weight_packed').map((path) => packedMatrix(stored, path, bits)),
      ...stored
        .before('.weight_scale')
        .filter((path) => !stored.has(`${path}.weight_packed`))
        .map((path) => scaledMatrix(stored, path, 'weight_scale', weightBlock(config))),
    ],
  }
}
const known = ['int-quantized', 'float-quantized', 'naive-quantized', 'pack-quantized']

/** What config_groups say of weights; groups that differ are no case here. */
function weightsOf(config: Settings): Settings {
  const groups = config.nested('config_groups')
  const all = groups?.keys.map((name) => groups.nested(name)?.nested('weights')) ?? []
  const [first, ...others] = all.filter((weights) => weights !== undefined)
  if (!first) throw config.wrong('config_groups', 'groups that say how weights are packed', all)
  const bits = first.count('num_bits')
  if (others.some((other) => other.count('num_bits') !== bits))
    throw unknownPacking(config.file, 'compressed-tensors with several numbers of bits', 'those with one')
  return first
}
const bitsOf = (config: Settings): number => weightsOf(config).count('num_bits')
function weightBlock(config: Settings): Block | undefined {
  return weightsOf(config).numbersOf('block_structure', 2) as Block | undefined
}

/** Integers of some bits in words of 32 along the inputs, half their range added. */
function packedMatrix(stored: Stored, path: string, bits: number): Packed {
  const part = (name: string) => `${path}.weight_${name}`
  const per = 32 / bits
  if (!Number.isInteger(per))
    throw unknownPacking(stored.file, `pack-quantized with ${bits} bits`, '4 and 8 bits')
  const shape = [...new BigInt64Array(stored.bytes(part('shape'), ['I64'], [2]).buffer)].map(Number)
  const [rows, columns] = shape
  const across = Math.ceil(columns / per)
  const { shape: held } = stored.at(part('packed'), ['I32'], 2)
  if (rows < 1 || columns < 1 || `${held}` !== `${[rows, across]}`)
    throw stored.wrong(
      part('packed'),
      `[${rows}, ${across}] as weight_shape says, and is [${held.join(', ')}]`,
    )
  const [, groups = 1] = stored.at(part('scale'), scaleTypes, 2).shape
  const [half, most] = [2 ** (bits - 1), 2 ** bits - 1]
  return {
    name: `${path}.weight`,
    shape,
    parts: stored.present(...['packed', 'shape', 'scale', 'zero_point', 'g_idx'].map(part)),
    values() {
      const words = stored.words(part('packed'), [rows, across])
      const scales = stored.floats(part('scale'), [rows, groups])
      const zeros =
        stored.has(part('zero_point')) && stored.words(part('zero_point'), [Math.ceil(rows / per), groups])
      const groupOf = groupsOf(stored, part('g_idx'), columns, groups, Math.ceil(columns / groups))
      return byRows(shape, (row, r) => {
        for (let c = 0; c < columns; c++) {
          const g = groupOf[c]
          const q = (words[r * across + Math.floor(c / per)] >>> (bits * (c % per))) & most
          const zero = zeros ? (zeros[Math.floor(r / per) * groups + g] >>> (bits * (r % per))) & most : half
          row[c] = (q - zero) * scales[r * groups + g]
        }
      })
    },
  }
}

/** bitsandbytes' 8 bits: an output's greatest magnitude, `SCB`, is 127. */
export function scaledBytes(stored: Stored, path: string): Packed {
  const weight = `${path}.weight`
  const { shape } = stored.at(weight, ['I8'], 2)
  return {
    name: weight,
    shape,
    parts: [weight, `${path}.SCB`, ...stored.present(`${path}.weight_format`)],
    values() {
      const bytes = stored.bytes(weight, ['I8'], shape)
      const scales = stored.floats(`${path}.SCB`, [shape[0]])
      return byRows(shape, (row, r) => {
        for (let c = 0; c < row.length; c++)
          row[c] = (numbers.I8[bytes[r * row.length + c]] * scales[r]) / 127
      })
    },
  }
}
