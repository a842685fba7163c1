import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '@graft/onnx'
import { GraftError } from '../errors.js'

/** What Graft needs besides HF PEFT's two files to use an adapter again: kept beside them as graft.json. */
export interface Manifest {
  /** the base model's .onnx file */
  model: string
  method: string
  options: Record<string, unknown>
  objective: string
  labels: string[]
  max_length: number
  columns: Record<string, string>
}
const manifestFile = 'graft.json'

export const hasManifest = (folder: string): boolean => existsSync(join(folder, manifestFile))

export const writeManifest = (folder: string, manifest: Manifest): void => writeAtomically(join(folder, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`)

/** Throws NO_MANIFEST or BAD_MANIFEST. */
export function readManifest(folder: string): Manifest {
  const path = join(folder, manifestFile)
  if (!existsSync(path)) throw new GraftError('NO_MANIFEST', `${folder}: ${manifestFile} is missing. Give an adapter folder that graft train wrote.`)
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest
  } catch (cause) {
    throw new GraftError('BAD_MANIFEST', `${path}: not JSON (${(cause as Error).message}).`, { cause })
  }
}
