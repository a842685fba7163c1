/** 16-bit floats to and from float32, in arrays of their bit patterns. */

/** Every float16 as float32; built on first use, 256 KB. */
let halves: Float32Array | undefined
function table(): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, h) => {
    const [sign, exponent, fraction] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023]
    if (exponent === 0) return sign * fraction * 2 ** -24
    if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
  })
  return halves
}
export function halfToFloat(bits: Uint16Array): Float32Array {
  const all = table()
  const floats = new Float32Array(bits.length)
  for (let i = 0; i < bits.length; i++) floats[i] = all[bits[i]]
  return floats
}

export function bfloat16ToFloat(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i] << 16
  return new Float32Array(wide.buffer)
}

/** Rounds to the nearest, ties to even. */
export function floatToBfloat16(floats: Float32Array): Uint16Array {
  const wide = new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
  const bits = new Uint16Array(floats.length)
  for (let i = 0; i < bits.length; i++) {
    const w = wide[i]
    const isNan = (w & 0x7fffffff) > 0x7f800000
    bits[i] = isNan ? (w >>> 16) | 64 : (w + 0x7fff + ((w >>> 16) & 1)) >>> 16
  }
  return bits
}

/** Rounds to the nearest, ties to even; beyond 65504 to infinity. */
export function floatToHalf(floats: Float32Array): Uint16Array {
  const wide = new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
  return Uint16Array.from(wide, halfBits)
}
function halfBits(w: number): number {
  const sign = (w >>> 16) & 0x8000
  const magnitude = w & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000)
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  // Below the least normal number: units of 2⁻²⁴, rounded.
  if (magnitude < 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const fraction = (magnitude & 0x7fffff) | 0x800000
  const half = 1 << (shift - 1)
  const rest = fraction & ((1 << shift) - 1)
  const whole = fraction >>> shift
  return sign | (whole + Number(rest > half || (rest === half && (whole & 1) === 1)))
}
