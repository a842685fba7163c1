import { jsonOf, isObject } from '../../files/json.js'
import { scaledBytes } from './scaled.js'
import type { Packed, Stored, Unpacker } from './packed.js'

const state = '.weight.quant_state.bitsandbytes__'

/**
 * What bitsandbytes saves: NF4 and FP4 (QLoRA; Dettmers et al., 2023, arXiv 2305.14314), two numbers a byte, the first in the upper half,
 * looked up in `quant_map` and multiplied by the block's `absmax`, which may itself be packed; and 8 bits with a scale an output (`SCB`).
 */
export const bitsandbytes: Unpacker = (stored, config) => {
  const eight = config.flag(['load_in_8bit', '_load_in_8bit'], false)
  const kind = config.text('bnb_4bit_quant_type', 'fp4')
  const four = ['nf4', 'fp4'].flatMap((type) =>
    stored.before(`${state}${type}`).map((path) => fourBits(stored, path, type)),
  )
  return {
    about: `bitsandbytes, ${eight ? '8 bits with a scale an output' : kind.toUpperCase()}`,
    packed: [...four, ...stored.before('.SCB').map((path) => scaledBytes(stored, path))],
  }
}

/** What `quant_state` says: sizes, and how the scales are packed. */
interface State {
  shape: readonly number[]
  blocksize: number
  nested_blocksize?: number
  nested_offset?: number
}
function stateOf(stored: Stored, name: string): State {
  const { length } = stored.at(name, ['U8'], 1)
  if (length > 2 ** 16) throw stored.wrong(name, 'a short JSON text')
  const text = Buffer.from(stored.bytes(name, ['U8'], [length])).toString()
  const value = jsonOf(text, `${stored.file}: ${name}`, 'BAD_PACKED_WEIGHTS')
  const size = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) > 0
  if (!isObject(value) || !Array.isArray(value.shape) || !value.shape.every(size) || !size(value.blocksize))
    throw stored.wrong(name, 'an object with shape and blocksize')
  return value as unknown as State
}

function fourBits(stored: Stored, path: string, type: string): Packed {
  const part = (name: string) => `${path}.weight.${name}`
  const named = `${path}${state}${type}`
  const { shape, ...sizes } = stateOf(stored, named)
  const count = shape.reduce((a, b) => a * b, 1)
  const weight = stored.at(`${path}.weight`, ['U8'])
  if (weight.length !== Math.ceil(count / 2) || count % 2 !== 0)
    throw stored.wrong(`${path}.weight`, `${count / 2} bytes as ${named} says, and has ${weight.length}`)
  const parts = ['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map'].map(part)
  return {
    name: `${path}.weight`,
    shape,
    parts: [`${path}.weight`, named, ...stored.present(...parts)],
    *values() {
      const bytes = stored.bytes(`${path}.weight`, ['U8'], weight.shape)
      const table = stored.floats(part('quant_map'), [16])
      const scales = scalesOf(stored, part, Math.ceil(count / sizes.blocksize), sizes)
      for (let first = 0; first < bytes.length; first += chunk) {
        const values = new Float32Array(2 * Math.min(chunk, bytes.length - first))
        for (let i = 0; i < values.length; i++) {
          const at = 2 * first + i
          const byte = bytes[at >> 1]
          values[i] = table[at & 1 ? byte & 15 : byte >> 4] * scales[Math.floor(at / sizes.blocksize)]
        }
        yield values
      }
    },
  }
}
const chunk = 2 ** 19

/** The scales of blocks: as they are, or 8 bits each with scales of their own and what was taken off before. */
function scalesOf(
  stored: Stored,
  part: (name: string) => string,
  blocks: number,
  { nested_blocksize: size = 256, nested_offset: offset = 0 }: Omit<State, 'shape'>,
): Float32Array {
  if (!stored.has(part('nested_absmax'))) return stored.floats(part('absmax'), [blocks])
  if (!Number.isSafeInteger(size) || size < 1 || typeof offset !== 'number')
    throw stored.wrong(part('nested_absmax'), 'of a positive nested_blocksize and a numeric nested_offset')
  const bytes = stored.bytes(part('absmax'), ['U8'], [blocks])
  const table = stored.floats(part('nested_quant_map'), [256])
  const factors = stored.floats(part('nested_absmax'), [Math.ceil(blocks / size)])
  return Float32Array.from(bytes, (byte, b) => table[byte] * factors[Math.floor(b / size)] + offset)
}

/** The sixteen numbers of OCP's four-bit floating point, E2M1. */
const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]

/**
 * MXFP4 (OCP Microscaling Formats 1.0), as gpt-oss keeps its experts: `_blocks` [experts, outputs, blocks, 16], two numbers a byte, the
 * first in the lower half, times 2^(`_scales` − 127). The model has them as [experts, inputs, outputs].
 */
export const mxfp4: Unpacker = (stored) => ({
  about: 'MXFP4, 4 bits in blocks of 32',
  packed: stored.before('_blocks').map((name) => expertsOf(stored, name)),
})
function expertsOf(stored: Stored, name: string): Packed {
  const { shape } = stored.at(`${name}_blocks`, ['U8'], 4)
  const [experts, outputs, blocks, half] = shape
  if (half !== 16) throw stored.wrong(`${name}_blocks`, `blocks of 16 bytes, and has ${half}`)
  const inputs = 32 * blocks
  return {
    name,
    shape: [experts, inputs, outputs],
    parts: [`${name}_blocks`, `${name}_scales`],
    *values() {
      const bytes = stored.bytes(`${name}_blocks`, ['U8'], shape)
      const scales = stored.bytes(`${name}_scales`, ['U8'], shape.slice(0, 3))
      for (let e = 0; e < experts; e++) {
        const values = new Float32Array(inputs * outputs)
        for (let o = 0; o < outputs; o++)
          for (let i = 0; i < inputs; i++) {
            const at = (e * outputs + o) * inputs + i
            const digit = (bytes[at >> 1] >> (4 * (at & 1))) & 15
            values[i * outputs + o] = e2m1[digit] * 2 ** (scales[at >> 5] - 127)
          }
        yield values
      }
    },
  }
}
