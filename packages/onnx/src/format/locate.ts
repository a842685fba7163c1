import { existsSync, realpathSync } from 'node:fs'
import { dirname, isAbsolute, resolve, sep } from 'node:path'
import { GraftError } from '../graph/errors.js'
import { selfLocation } from './skim.js'
import type { Locate } from './tensors.js'

/**
 * Whether a file that another one names lies with it, links followed: in the folder of that other file, or where that one itself lies when
 * it is a link (the Hub's cache keeps all files of a model as links into one folder of blobs).
 */
export function liesWith(file: string, beside: string): boolean {
  const real = realpathSync(file)
  return [realpathSync(dirname(beside)), dirname(realpathSync(beside))].some((f) => real.startsWith(f + sep))
}

/** Resolves external-data locations: inside the model's folder only. The answer throws ESCAPING_PATH and FILE_NOT_FOUND. */
export function locator(path: string): Locate {
  const folder = resolve(dirname(path))
  return (location, tensor) => {
    if (location === selfLocation) return resolve(path)
    const file = resolve(folder, location)
    const outside = () =>
      new GraftError(
        'ESCAPING_PATH',
        `${path}: tensor ${tensor} points outside the model's folder (${location}). Refused.`,
      )
    if (isAbsolute(location) || !file.startsWith(folder + sep) || location.includes('\0')) throw outside()
    if (!existsSync(file))
      throw new GraftError(
        'FILE_NOT_FOUND',
        `${path}: the weights of ${tensor} should lie in ${file}, which doesn't exist. Copy the data file beside the model.`,
      )
    if (!liesWith(file, path)) throw outside()
    return file
  }
}
