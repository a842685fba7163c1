import type { Bitmap } from './resample.js'

/** An uncompressed BMP of 24 or 32 bits a pixel, which sharp doesn't read; undefined for other files. Throws for other BMPs. */
export function bitmapOf(bytes: Buffer): Bitmap | undefined {
  if (bytes.toString('latin1', 0, 2) !== 'BM' || bytes.length < 54) return undefined
  const [start, width, tall] = [bytes.readUInt32LE(10), bytes.readInt32LE(18), bytes.readInt32LE(22)]
  const [bits, compression] = [bytes.readUInt16LE(28), bytes.readUInt32LE(30)]
  const height = Math.abs(tall)
  if (compression !== 0 || (bits !== 24 && bits !== 32))
    throw new Error(
      `a BMP of ${bits} bits a pixel, compression ${compression}; 24 or 32 without compression are read`,
    )
  const row = Math.ceil((width * bits) / 32) * 4
  if (width <= 0 || bytes.length < start + row * height) throw new Error('the BMP breaks off')
  const data = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = start + (tall > 0 ? height - 1 - y : y) * row + (x * bits) / 8
      for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = bytes[from + 2 - c]
    }
  return { width, height, channels: 3, data }
}
