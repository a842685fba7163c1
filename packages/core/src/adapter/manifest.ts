import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readBytes, writeAtomically } from '@graft-peft/onnx'
import type { KeptPlan } from '../compile/precision.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import type { Quantisation } from '../model/quantise.js'

/** What Graft needs besides HF PEFT's two files to use an adapter again: kept beside them as graft.json. */
export interface Manifest {
  /** the base model: an .onnx file, or a Hugging Face folder */
  model: string
  method: string
  options: Record<string, unknown>
  /** what the base model's parameters look like: another model's differ */
  base?: string
  /** how the base was kept while training */
  quantize?: Quantisation | null
  /** what products were computed in, where that was 8-bit integers: the adapter has learned with their rounding */
  precision?: 'int8'
  /** which products were not, or were smoothed */
  integers?: KeptPlan
  objective: string
  labels: string[]
  max_length: number
  columns: Record<string, string>
}
const manifestFile = 'graft.json'

export const hasManifest = (folder: string): boolean => existsSync(join(folder, manifestFile))

export const writeManifest = (folder: string, manifest: Manifest): void =>
  writeAtomically(join(folder, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`)

/** A hash over the first bytes of embeddings and convolutions: cheap even for a model of gigabytes, the same from every exporter. */
export function baseFingerprint(model: Model): string {
  const hash = createHash('sha256')
  for (const { path, weight } of [...model.embeddings, ...model.convolutions].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  )) {
    const { data, shape } = weight.constant ?? { shape: [] }
    hash.update(`${path} ${shape}\n`)
    if (data)
      hash.update(
        readBytes(
          'file' in data
            ? { ...data, length: Math.min(data.length, sampled) }
            : { bytes: data.bytes.subarray(0, sampled) },
        ),
      )
  }
  return hash.digest('hex').slice(0, 32)
}
const sampled = 256

/** Throws NO_MANIFEST or BAD_MANIFEST. */
export function readManifest(folder: string): Manifest {
  const path = join(folder, manifestFile)
  if (!existsSync(path))
    throw new GraftError(
      'NO_MANIFEST',
      `${folder}: ${manifestFile} is missing. Give an adapter folder that graft train wrote.`,
    )
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest
  } catch (cause) {
    throw new GraftError('BAD_MANIFEST', `${path}: not JSON (${(cause as Error).message}).`, { cause })
  }
}
