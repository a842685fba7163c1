import CRC32C from 'crc-32/crc32c.js'

/** TensorFlow's mask: sums over data that holds sums itself would be weak. */
const masked = (data: Uint8Array): number => {
  const sum = CRC32C.buf(data) >>> 0
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0
}

/** A TFRecord: length (8 bytes), its masked CRC-32C, the data, its masked CRC-32C; all little-endian. */
export function record(data: Uint8Array): Buffer {
  const framed = Buffer.alloc(data.length + 16)
  framed.writeBigUInt64LE(BigInt(data.length), 0)
  framed.writeUInt32LE(masked(framed.subarray(0, 8)), 8)
  framed.set(data, 12)
  framed.writeUInt32LE(masked(data), 12 + data.length)
  return framed
}
