import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  floatsOf,
  readSafetensors,
  type StoredTensor,
  storedFloats,
  writeSafetensors,
} from '../files/safetensors.js'
import { GraftError } from '../errors.js'
import type { Progress } from './progress.js'
import { makeFolder } from '../files/folders.js'

export interface Checkpoint {
  progress: Progress
  /** parameters and optimiser state, flat vectors */
  vectors: Record<string, Float32Array>
  /** fingerprint of what the vectors mean: a checkpoint of another run is refused */
  fingerprint: string
}

/** Writes a checkpoint as one file, whole or not at all. */
export function saveCheckpoint(path: string, { progress, vectors, fingerprint }: Checkpoint): void {
  makeFolder(dirname(path))
  const tensors = new Map(Object.entries(vectors).map(([name, v]) => [name, storedFloats(v, [v.length])]))
  const said = { progress: JSON.stringify(progress), fingerprint }
  writeSafetensors(path, { tensors, metadata: { ...said, sha256: digest(tensors, said) } })
}

/** Over all that a checkpoint says: progress, names, shapes and numbers. */
function digest(tensors: ReadonlyMap<string, StoredTensor>, said: Record<string, string>): string {
  const hash = createHash('sha256').update(JSON.stringify([said.progress, said.fingerprint]))
  for (const [name, { dtype, shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(JSON.stringify([name, dtype, shape])).update(data)
  return hash.digest('hex')
}

/**
 * Reads a checkpoint. Throws NO_CHECKPOINT, BAD_SAFETENSORS, BAD_CHECKPOINT where a bit differs from what was
 * written, or OTHER_RUN when config or data changed since.
 */
export function loadCheckpoint(path: string, fingerprint: string): Checkpoint {
  if (!existsSync(path))
    throw new GraftError(
      'NO_CHECKPOINT',
      `${path}: no checkpoint to resume from. Start the run without --resume.`,
    )
  const { tensors, metadata } = readSafetensors(path)
  if (metadata.sha256 !== digest(tensors, metadata))
    throw new GraftError(
      'BAD_CHECKPOINT',
      `${path}: the checkpoint is damaged: its numbers are not those that were written (its SHA-256 differs). Restore it from a copy, or start again with --overwrite.`,
    )
  if (metadata.fingerprint !== fingerprint)
    throw new GraftError(
      'OTHER_RUN',
      `${path}: the checkpoint belongs to a run with another model, method, data or training setting. Undo the change, or start again with --overwrite.`,
    )
  const vectors = Object.fromEntries([...tensors].map(([name, t]) => [name, floatsOf(t, name)]))
  return { progress: JSON.parse(metadata.progress), vectors, fingerprint }
}
