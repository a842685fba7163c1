import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { floatsOf, readSafetensors, storedFloats, writeSafetensors } from '../files/safetensors.js'
import { GraftError } from '../errors.js'
import type { Progress } from './progress.js'

export interface Checkpoint {
  progress: Progress
  /** parameters and optimiser state, flat vectors */
  vectors: Record<string, Float32Array>
  /** fingerprint of what the vectors mean: a checkpoint of another run is refused */
  fingerprint: string
}

/** Writes a checkpoint as one file, whole or not at all. */
export function saveCheckpoint(path: string, { progress, vectors, fingerprint }: Checkpoint): void {
  mkdirSync(dirname(path), { recursive: true })
  const tensors = new Map(Object.entries(vectors).map(([name, v]) => [name, storedFloats(v, [v.length])]))
  writeSafetensors(path, { tensors, metadata: { progress: JSON.stringify(progress), fingerprint } })
}

/** Reads a checkpoint. Throws NO_CHECKPOINT, BAD_SAFETENSORS, or OTHER_RUN when config or data changed since. */
export function loadCheckpoint(path: string, fingerprint: string): Checkpoint {
  if (!existsSync(path))
    throw new GraftError(
      'NO_CHECKPOINT',
      `${path}: no checkpoint to resume from. Start the run without --resume.`,
    )
  const { tensors, metadata } = readSafetensors(path)
  if (metadata.fingerprint !== fingerprint)
    throw new GraftError(
      'OTHER_RUN',
      `${path}: the checkpoint belongs to a run with another model, method, data or training setting. Undo the change, or start again with --overwrite.`,
    )
  const vectors = Object.fromEntries([...tensors].map(([name, t]) => [name, floatsOf(t, name)]))
  return { progress: JSON.parse(metadata.progress), vectors, fingerprint }
}
