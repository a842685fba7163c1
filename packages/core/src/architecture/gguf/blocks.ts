import { bfloat16ToFloat, halfToFloat } from '@graft-peft/onnx'

/** How GGUF packs numbers: blocks of so many values in so many bytes, each with its scales. */
export interface BlockType {
  name: string
  values: number
  bytes: number
  /** Unpacks the block that begins at `at` into `out`. */
  unpack(bytes: DataView, at: number, out: Float32Array): void
}

const halves = halfToFloat(Uint16Array.from({ length: 2 ** 16 }, (_, i) => i))
const half = (bytes: DataView, at: number): number => halves[bytes.getUint16(at, true)]
const nibble = (bytes: DataView, at: number, i: number): number =>
  (bytes.getUint8(at + (i % 16)) >> (i < 16 ? 0 : 4)) & 15

/** The types that ggml numbers so (ggml.h), and their blocks (ggml-quants.c, dequantize_row_…). */
export const blockTypes: ReadonlyMap<number, BlockType> = new Map([
  [0, plain('F32', 4, (b, at) => b.getFloat32(at, true))],
  [1, plain('F16', 2, half)],
  [30, plain('BF16', 2, (b, at) => bfloat16ToFloat(Uint16Array.of(b.getUint16(at, true)))[0])],
  [2, small('Q4_0', 18, (b, at, i) => half(b, at) * (nibble(b, at + 2, i) - 8))],
  [3, small('Q4_1', 20, (b, at, i) => half(b, at) * nibble(b, at + 4, i) + half(b, at + 2))],
  [6, small('Q5_0', 22, (b, at, i) => half(b, at) * (fifth(b, at + 2, i) - 16))],
  [7, small('Q5_1', 24, (b, at, i) => half(b, at) * fifth(b, at + 4, i) + half(b, at + 2))],
  [8, small('Q8_0', 34, (b, at, i) => half(b, at) * b.getInt8(at + 2 + i))],
  [10, { name: 'Q2_K', values: 256, bytes: 84, unpack: q2k }],
  [11, { name: 'Q3_K', values: 256, bytes: 110, unpack: q3k }],
  [12, { name: 'Q4_K', values: 256, bytes: 144, unpack: q4k }],
  [13, { name: 'Q5_K', values: 256, bytes: 176, unpack: q5k }],
  [14, { name: 'Q6_K', values: 256, bytes: 210, unpack: q6k }],
])

function plain(name: string, bytes: number, read: (b: DataView, at: number) => number): BlockType {
  return {
    name,
    values: 1,
    bytes,
    unpack: (b, at, out) => {
      out[0] = read(b, at)
    },
  }
}
/** Blocks of 32 values. */
function small(name: string, bytes: number, read: (b: DataView, at: number, i: number) => number): BlockType {
  return {
    name,
    values: 32,
    bytes,
    unpack: (b, at, out) => {
      for (let i = 0; i < 32; i++) out[i] = read(b, at, i)
    },
  }
}
/** Four bits with a fifth from the word before them. */
const fifth = (b: DataView, at: number, i: number): number =>
  nibble(b, at + 4, i) | (((b.getUint32(at, true) >>> i) & 1) << 4)

/** 16 parts of 16 values, each with four bits of scale and four of what is taken off. */
function q2k(b: DataView, at: number, out: Float32Array): void {
  const [d, least] = [half(b, at + 80), half(b, at + 82)]
  for (let i = 0; i < 256; i++) {
    const scale = b.getUint8(at + (i >> 4))
    const q = (b.getUint8(at + 16 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3
    out[i] = d * (scale & 15) * q - least * (scale >> 4)
  }
}

/** 16 parts of 16 values, each with a scale of six bits; a third bit of the values lies apart. */
function q3k(b: DataView, at: number, out: Float32Array): void {
  const d = half(b, at + 108)
  for (let i = 0; i < 256; i++) {
    const part = i >> 4
    const low = (b.getUint8(at + 96 + (part & 7)) >> (part < 8 ? 0 : 4)) & 15
    const high = (b.getUint8(at + 104 + (part & 3)) >> (2 * (part >> 2))) & 3
    const q = (b.getUint8(at + 32 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3
    const third = (b.getUint8(at + (i & 31)) >> (i >> 5)) & 1
    out[i] = d * ((low | (high << 4)) - 32) * (q - (third ? 0 : 4))
  }
}

/** Scale and what is taken off of the j-th of eight parts, six bits each. */
function sixBits(b: DataView, at: number, j: number): [number, number] {
  const byte = (i: number) => b.getUint8(at + i)
  return j < 4
    ? [byte(j) & 63, byte(j + 4) & 63]
    : [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)]
}
/** Eight parts of 32 values; the fifth bits begin at `fifths`, where there are any. */
function eightParts(b: DataView, at: number, out: Float32Array, values: number, fifths?: number): void {
  const [d, least] = [half(b, at), half(b, at + 2)]
  for (let j = 0; j < 8; j++) {
    const [scale, off] = sixBits(b, at + 4, j)
    for (let l = 0; l < 32; l++) {
      const four = (b.getUint8(values + 32 * (j >> 1) + l) >> (4 * (j & 1))) & 15
      const bit = fifths === undefined ? 0 : (b.getUint8(fifths + l) >> j) & 1
      out[32 * j + l] = d * scale * (four | (bit << 4)) - least * off
    }
  }
}
function q4k(b: DataView, at: number, out: Float32Array): void {
  eightParts(b, at, out, at + 16)
}
function q5k(b: DataView, at: number, out: Float32Array): void {
  eightParts(b, at, out, at + 48, at + 16)
}

/** 16 parts of 16 values of six bits, each part with a scale of eight. */
function q6k(b: DataView, at: number, out: Float32Array): void {
  const d = half(b, at + 208)
  for (let i = 0; i < 256; i++) {
    const [side, part, l] = [i >> 7, (i >> 5) & 3, i & 31]
    const low = (b.getUint8(at + 64 * side + 32 * (part & 1) + l) >> (part < 2 ? 0 : 4)) & 15
    const high = (b.getUint8(at + 128 + 32 * side + l) >> (2 * part)) & 3
    out[i] = d * b.getInt8(at + 192 + (i >> 4)) * ((low | (high << 4)) - 32)
  }
}
