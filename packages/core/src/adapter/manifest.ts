import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readBytes, writeAtomically } from '@graft-peft/onnx'
import type { KeptPlan } from '../compile/precision.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import { isObject, readObject, shown } from '../files/json.js'
import { type Quantisation, quantisations } from '../model/quantise.js'

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

/**
 * What Graft wrote beside an adapter: its base, method, objective and how its data was read (graft.json).
 *
 * @throws NO_MANIFEST or BAD_MANIFEST.
 */
export function readManifest(folder: string): Manifest {
  const path = join(folder, manifestFile)
  if (!existsSync(path))
    throw new GraftError(
      'NO_MANIFEST',
      `${folder}: ${manifestFile} is missing. Give an adapter folder that graft train wrote.`,
    )
  const manifest = readObject(path, 'BAD_MANIFEST')
  for (const [key, [fits, expected]] of Object.entries(fields))
    if (!fits(manifest[key]))
      throw new GraftError(
        'BAD_MANIFEST',
        `${path}: ${key} should be ${expected}, got ${shown(manifest[key])}. Restore the file, or remove it and name the base with --model.`,
      )
  return manifest as unknown as Manifest
}

const isText = (v: unknown): v is string => typeof v === 'string' && v !== ''
const isTexts = (v: unknown): boolean => Array.isArray(v) && v.every((x) => typeof x === 'string')
const optional = (fits: (v: unknown) => boolean) => (v: unknown) => v === undefined || v === null || fits(v)
const isPlan = (v: unknown) =>
  isObject(v) && isTexts(v.float32) && isObject(v.smoothing) && isTexts(Object.values(v.smoothing))
/** What each field of graft.json must be. */
const fields: Readonly<Record<keyof Manifest, [fits: (v: unknown) => boolean, expected: string]>> = {
  model: [isText, "the base model's path"],
  method: [isText, "a method's name"],
  options: [isObject, "the method's options"],
  base: [optional(isText), 'a hash'],
  quantize: [optional((v) => (quantisations as readonly unknown[]).includes(v)), `one of ${quantisations.join(', ')}`],
  precision: [optional((v) => v === 'int8'), 'int8'],
  integers: [optional(isPlan), 'lists of products'],
  objective: [isText, "an objective's name"],
  labels: [isTexts, 'a list of texts'],
  max_length: [(v) => Number.isSafeInteger(v) && (v as number) > 0, 'a positive whole number'],
  columns: [(v) => isObject(v) && isTexts(Object.values(v)), 'names of columns by field'],
} // biome-ignore format: a table
