/** Pixels of eight bits, row after row, the channels of a pixel beside each other. */
export interface Bitmap {
  width: number
  height: number
  channels: number
  data: Uint8Array
}

interface Filter {
  support: number
  weight: (x: number) => number
}
const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

/** Pillow's filters by its numbers, which preprocessor_config.json has under resample; 0, the nearest pixel, is apart. */
const filters: Readonly<Record<number, Filter>> = {
  1: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  2: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  4: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  5: { support: 1, weight: (x) => hamming(Math.abs(x)) },
}
function cubic(x: number): number {
  const a = -0.5
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}
const hamming = (x: number): number => (x >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI)))
export const isFilter = (resample: number): boolean => resample === 0 || resample in filters

/** Which pixels make one of the result, and in which parts (of 2^22). */
interface Part {
  first: number
  weights: number[]
}
const precision = 2 ** 22

/** Pillow's precompute_coeffs (libImaging/Resample.c): the filter widens as the image shrinks, which keeps it from aliasing. */
function parts(from: number, to: number, { support, weight }: Filter): Part[] {
  const scale = from / to
  const wide = Math.max(1, scale)
  const reach = support * wide
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(centre - reach + 0.5))
    const end = Math.min(from, Math.trunc(centre + reach + 0.5))
    const raw = Array.from({ length: end - first }, (_, k) => weight((k + first - centre + 0.5) / wide))
    const sum = raw.reduce((a, b) => a + b, 0)
    return {
      first,
      weights: raw.map((w) => Math.trunc((w / sum) * precision + (w / sum < 0 ? -0.5 : 0.5))),
    }
  })
}

/**
 * Resizes as Pillow 13 does, to the bit: across and down, eight bits between. It goes down first where that takes off more than twice as
 * many rows as going across takes off columns (found by trying 700 sizes; earlier versions always go across first).
 */
export function resize(image: Bitmap, width: number, height: number, resample: number): Bitmap {
  if (resample === 0) return nearest(image, width, height)
  const filter = filters[resample]
  const across = (i: Bitmap) => (i.width === width ? i : pass(i, width, 'across', filter))
  const down = (i: Bitmap) => (i.height === height ? i : pass(i, height, 'down', filter))
  const rows = image.height - height
  return rows > 0 && rows > 2 * (image.width - width) ? across(down(image)) : down(across(image))
}

function pass(image: Bitmap, length: number, way: 'across' | 'down', filter: Filter): Bitmap {
  const { channels, data } = image
  const isAcross = way === 'across'
  const [width, height] = isAcross ? [length, image.height] : [image.width, length]
  const result = new Uint8Array(width * height * channels)
  const stride = channels * (isAcross ? 1 : image.width)
  const table = parts(isAcross ? image.width : image.height, length, filter)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const { first, weights } = table[isAcross ? x : y]
      const start = isAcross ? (y * image.width + first) * channels : (first * image.width + x) * channels
      for (let c = 0; c < channels; c++) {
        let sum = precision / 2
        for (let k = 0; k < weights.length; k++) sum += data[start + k * stride + c] * weights[k]
        result[(y * width + x) * channels + c] = Math.min(255, Math.max(0, Math.floor(sum / precision)))
      }
    }
  return { width, height, channels, data: result }
}

function nearest({ width: w, height: h, channels, data }: Bitmap, width: number, height: number): Bitmap {
  const result = new Uint8Array(width * height * channels)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [sx, sy] = [Math.trunc(((x + 0.5) * w) / width), Math.trunc(((y + 0.5) * h) / height)]
      for (let c = 0; c < channels; c++)
        result[(y * width + x) * channels + c] = data[(sy * w + sx) * channels + c]
    }
  return { width, height, channels, data: result }
}

/** The middle of an image; black around it where it is smaller. */
export function centreCrop(image: Bitmap, width: number, height: number): Bitmap {
  const { channels, data } = image
  const result = new Uint8Array(width * height * channels)
  const offset = (from: number, to: number) => Math.floor((from - to) / 2)
  const [left, top] = [offset(image.width, width), offset(image.height, height)]
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [sx, sy] = [x + left, y + top]
      if (sx < 0 || sy < 0 || sx >= image.width || sy >= image.height) continue
      for (let c = 0; c < channels; c++)
        result[(y * width + x) * channels + c] = data[(sy * image.width + sx) * channels + c]
    }
  return { width, height, channels, data: result }
}
