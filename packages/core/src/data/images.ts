import { existsSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { GraftError } from '../errors.js'
import { readObject, shown } from '../files/json.js'

/** An image file that a record names, and where the record stands. */
export interface ImageReference {
  file: string
  where: string
}

/** How a model wants its images, from preprocessor_config.json: values scaled to 0 … 1, less the mean, over the deviation. */
interface Preprocessing {
  mean: readonly number[]
  deviation: readonly number[]
}
const known = new Map<string, Preprocessing>()
function preprocessing(folder: string, channels: number): Preprocessing {
  const found = known.get(folder)
  if (found) return found
  const path = join(folder, 'preprocessor_config.json')
  const config = existsSync(path) ? readObject(path, 'BAD_IMAGE_CONFIG') : {}
  const list = (key: string): number[] => {
    const v = config[key] ?? new Array<number>(channels).fill(0.5)
    if (Array.isArray(v) && v.length >= channels && v.every(Number.isFinite)) return v as number[]
    throw new GraftError(
      'BAD_IMAGE_CONFIG',
      `${path}: ${key} should be a list of ${channels} numbers, got ${shown(v)}.`,
    )
  }
  const made = { mean: list('image_mean'), deviation: list('image_std') }
  known.set(folder, made)
  return made
}

/** Reads an image file as [channels, height, width] the way the model was trained on. Throws BAD_IMAGE naming the record. */
export async function readPixels(
  { file, where }: ImageReference,
  [channels, height, width]: readonly number[],
  folder: string,
): Promise<Float32Array> {
  const path = isAbsolute(file) ? file : resolve(where.replace(/:[^:/]*$/, ''), '..', file)
  if (!existsSync(path)) throw new GraftError('BAD_IMAGE', `${where}: image ${path} is not there.`)
  const { default: sharp } = await import('sharp')
  const { mean, deviation } = preprocessing(folder, channels)
  try {
    const image = sharp(path).resize(width, height, { fit: 'fill', kernel: 'cubic' })
    const raw = await (channels === 1 ? image.grayscale() : image.toColourspace('srgb').removeAlpha())
      .raw()
      .toBuffer()
    const pixels = new Float32Array(channels * height * width)
    for (let i = 0; i < height * width; i++)
      for (let c = 0; c < channels; c++)
        pixels[c * height * width + i] = (raw[i * channels + c] / 255 - mean[c]) / deviation[c]
    return pixels
  } catch (cause) {
    throw new GraftError(
      'BAD_IMAGE',
      `${where}: ${path} can't be read as an image (${(cause as Error).message}).`,
      { cause },
    )
  }
}
