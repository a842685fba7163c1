import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { AtomicFile, writeAtomically } from '@graft-peft/onnx'
import { fileDigest } from './digest.js'
import { makeFolder } from './folders.js'

const digestFile = (path: string): string => `${path}.sha256`

/**
 * Makes a file that can be made again, unless it is there as it was made: told by its bytes, which a disk that failed or filled up may
 * have lost. `write` puts its bytes down piece by piece.
 *
 * @throws DISK_FULL and other errors of the disk in words.
 */
export function keepFile(path: string, write: (put: (bytes: Uint8Array) => void) => void): string {
  if (isWhole(path)) return path
  makeFolder(dirname(path))
  const file = new AtomicFile(path)
  const hash = createHash('sha256')
  try {
    write((bytes) => {
      hash.update(bytes)
      file.write(bytes)
    })
    file.finish()
    writeAtomically(digestFile(path), hash.digest('hex'))
  } finally {
    file.discard()
  }
  return path
}

const isWhole = (path: string): boolean =>
  existsSync(digestFile(path)) &&
  statSync(path, { throwIfNoEntry: false }) !== undefined &&
  readFileSync(digestFile(path), 'utf8') === fileDigest(path)
