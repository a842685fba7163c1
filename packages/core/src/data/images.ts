import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { GraftError } from '../errors.js'
import { expandHome } from '../files/home.js'
import { bitmapOf } from './bmp.js'
import { pixelsOf } from './preprocessing.js'
import type { Bitmap } from './resample.js'

/** An image file that a record names, and where the record stands. */
export interface ImageReference {
  file: string
  where: string
}

/** Reads an image file as [channels, height, width] the way the model was trained on. Throws BAD_IMAGE naming the record. */
export async function readPixels(
  { file, where }: ImageReference,
  shape: readonly number[],
  folder: string,
): Promise<Float32Array> {
  const own = expandHome(file)
  const path = isAbsolute(own) ? own : resolve(where.replace(/:[^:/]*$/, ''), '..', own)
  if (!existsSync(path)) throw new GraftError('BAD_IMAGE', `${where}: image ${path} is not there.`)
  return pixelsOf(await decoded(path, where, shape[0]), shape, folder)
}

/** An image upright, as its EXIF orientation says, in colour or in grey. */
async function decoded(path: string, where: string, channels: number): Promise<Bitmap> {
  try {
    const { default: sharp } = await import('sharp')
    const bytes = readFileSync(path)
    const bitmap = bitmapOf(bytes)
    const raw = bitmap && { raw: { width: bitmap.width, height: bitmap.height, channels: 3 as const } }
    const upright = bitmap ? sharp(bitmap.data, raw) : sharp(bytes).rotate()
    const image = channels === 1 ? upright.grayscale() : upright.toColourspace('srgb').removeAlpha()
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, channels: info.channels, data }
  } catch (cause) {
    if (cause instanceof GraftError) throw cause
    throw new GraftError(
      'BAD_IMAGE',
      `${where}: ${path} can't be read as an image (${(cause as Error).message}). Convert it to JPEG or PNG.`,
      { cause },
    )
  }
}
