import type { Settings } from '../settings.js'
import {
  byRows,
  evenBits,
  groupsOf,
  type Packed,
  type Stored,
  type Unpacker,
  unknownPacking,
} from './packed.js'

/** Rows of matrices [inputs, outputs], each number some bits of a 32-bit word. */
interface Layout {
  bits: number
  /** values in a group that share scale and zero point; −1 for all */
  size: number
}

/** Inputs, outputs and groups of a module; sizes that don't fit each other are refused before anything is read. */
function sizesOf(stored: Stored, path: string, { bits, size }: Layout, along: 'inputs' | 'outputs') {
  const per = 32 / bits
  const [first, second] = stored.at(`${path}.qweight`, ['I32'], 2).shape
  const [inputs, outputs] = along === 'inputs' ? [first * per, second] : [first, second * per]
  const group = size === -1 ? inputs : size
  const groups = Math.ceil(inputs / group)
  if (outputs % per !== 0) throw stored.wrong(`${path}.qweight`, `of a multiple of ${per} outputs`)
  return { inputs, outputs, groups, group, per }
}

/**
 * GPTQ (Frantar et al., 2022, arXiv 2210.17323), as AutoGPTQ and GPTQModel save it: `qweight` [inputs·bits/32, outputs] has the first input
 * in the lowest bits, `qzeros` [groups, outputs·bits/32] the zero points less one (checkpoint_format gptq) or themselves (gptq_v2),
 * `g_idx` the group of each input. A weight is scale·(q − zero).
 */
export const gptq: Unpacker = (stored, config) => {
  const layout = layoutOf(config, 'GPTQ', ['bits', 'w_bit'])
  const format = config.text('checkpoint_format', 'gptq')
  if (!['gptq', 'gptq_v2'].includes(format))
    throw unknownPacking(config.file, `GPTQ in the format ${format}`, 'gptq and gptq_v2')
  const packed = stored.before('.qweight').map((path) => gptqModule(stored, path, layout, format === 'gptq'))
  const unordered = config.flag('desc_act', false) && stored.before('.qweight')
  const lost = unordered && unordered.find((path) => !stored.has(`${path}.g_idx`))
  if (lost) throw stored.wrong(`${lost}.g_idx`, 'there, as desc_act says, and is missing')
  return { about: about('GPTQ', layout), packed }
}
function gptqModule(stored: Stored, path: string, layout: Layout, added: boolean): Packed {
  const { inputs, outputs, groups, group, per } = sizesOf(stored, path, layout, 'inputs')
  const { bits } = layout
  const most = 2 ** bits - 1
  return {
    name: `${path}.weight`,
    shape: [outputs, inputs],
    parts: partsOf(stored, path),
    values() {
      const words = stored.words(`${path}.qweight`, [inputs / per, outputs])
      const zeros = stored.words(`${path}.qzeros`, [groups, outputs / per])
      if (added) add(zeros, bits)
      const scales = stored.floats(`${path}.scales`, [groups, outputs])
      const groupOf = groupsOf(stored, `${path}.g_idx`, inputs, groups, group)
      return byRows([outputs, inputs], (row, o) => {
        for (let i = 0; i < inputs; i++) {
          const g = groupOf[i]
          const q = (words[Math.floor(i / per) * outputs + o] >>> (bits * (i % per))) & most
          const zero = (zeros[(g * outputs + o - (o % per)) / per] >>> (bits * (o % per))) & most
          row[i] = scales[g * outputs + o] * (q - zero)
        }
      })
    },
  }
}

/** Adds one to each number of a word; what runs over goes to the next, as what was taken off too much came from there. */
function add(words: Int32Array, bits: number): void {
  const ones = 0xffffffff / (2 ** bits - 1)
  for (let i = 0; i < words.length; i++) words[i] += ones
}

/** Where in a word AWQ's kernels put each of eight outputs. */
const awqOrder = [0, 4, 1, 5, 2, 6, 3, 7]

/**
 * AWQ (Lin et al., 2023, arXiv 2306.00978), as AutoAWQ saves it for its `gemm` kernels: `qweight` [inputs, outputs/8] and `qzeros`
 * [groups, outputs/8] hold eight outputs a word, the even ones first. A weight is scale·(q − zero).
 */
export const awq: Unpacker = (stored, config) => {
  const layout = layoutOf(config, 'AWQ', ['bits', 'w_bit'])
  const version = config.text('version', 'gemm').toLowerCase()
  if (version !== 'gemm') throw unknownPacking(config.file, `AWQ for ${version}`, 'weights for gemm')
  if (layout.bits !== 4) throw unknownPacking(config.file, `AWQ with ${layout.bits} bits`, '4 bits')
  return {
    about: about('AWQ', layout),
    packed: stored.before('.qweight').map((path) => awqModule(stored, path, layout)),
  }
}
function awqModule(stored: Stored, path: string, layout: Layout): Packed {
  const { inputs, outputs, groups, group, per } = sizesOf(stored, path, layout, 'outputs')
  const nibble = (words: Int32Array, row: number, o: number) =>
    (words[(row * outputs + o - (o % per)) / per] >>> (4 * awqOrder[o % per])) & 15
  return {
    name: `${path}.weight`,
    shape: [outputs, inputs],
    parts: partsOf(stored, path),
    values() {
      const words = stored.words(`${path}.qweight`, [inputs, outputs / per])
      const zeros = stored.has(`${path}.qzeros`) && stored.words(`${path}.qzeros`, [groups, outputs / per])
      const scales = stored.floats(`${path}.scales`, [groups, outputs])
      return byRows([outputs, inputs], (row, o) => {
        for (let i = 0; i < inputs; i++) {
          const g = Math.floor(i / group)
          row[i] = scales[g * outputs + o] * (nibble(words, i, o) - (zeros ? nibble(zeros, g, o) : 8))
        }
      })
    },
  }
}

function layoutOf(config: Settings, tool: string, names: readonly string[]): Layout {
  const bits = evenBits(config, config.count(names), tool)
  const size = config.whole(['group_size', 'q_group_size'], -1)
  if (size !== -1 && size < 1) throw config.wrong('group_size', 'a positive whole number, or -1', size)
  return { bits, size }
}
const about = (tool: string, { bits, size }: Layout): string =>
  `${tool}, ${bits} bits ${size === -1 ? 'with a scale an output' : `in groups of ${size}`}`
const partsOf = (stored: Stored, path: string): string[] =>
  stored.present(...['qweight', 'qzeros', 'scales', 'g_idx'].map((part) => `${path}.${part}`))
