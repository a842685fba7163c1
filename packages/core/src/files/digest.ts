import { createHash, type Hash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { diskError, writeAtomically } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { cacheFolder } from './cache.js'

/** Below this a file is read sooner than remembered. */
const worthKeeping = 2 ** 24

/**
 * SHA-256 of a file's bytes. That of a large file is remembered under its device, number, size and the times of its last changes: the last,
 * which the system sets, tells a file that was written again even where its date was put back. Throws errors of the disk in words.
 */
export function fileDigest(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
  if (size < worthKeeping) return hashed(path)
  const key = createHash('sha256').update([path, dev, ino, size, mtimeNs, ctimeNs].join()).digest('hex')
  const kept = join(cacheFolder(), 'digests', key)
  if (existsSync(kept)) {
    const known = readFileSync(kept, 'utf8')
    if (/^[0-9a-f]{64}$/.test(known)) return known
  }
  const digest = hashed(path)
  try {
    mkdirSync(dirname(kept), { recursive: true })
    writeAtomically(kept, digest)
  } catch {
    // A cache that can't be written only means that the file is read again.
  }
  return digest
}
const hashed = (path: string): string => hashInto(createHash('sha256'), path).digest('hex')

/** Feeds a file's bytes to a hash. Throws errors of the disk in words. */
export function hashInto(hash: Hash, path: string): Hash {
  const buffer = Buffer.allocUnsafe(2 ** 22)
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n))
    return hash
  } catch (cause) {
    throw diskError(cause, path)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** What lies beside models without being read: texts for people, data, settings of runs. */
const notOfTheModel = /^\.|\.(md|ya?ml|jsonl|csv|tsv|parquet|log|png|jpe?g|py|sh|bin\.index\.json)$/i
/** Folders of a model that are parts of it. */
const parts = /^(onnx|\d+_\w+)$/

/** Over all files that opening a model can read: an .onnx file with those beside it, or a folder. Throws MODEL_NOT_FOUND. */
export function modelDigest(path: string): string {
  if (!existsSync(path)) throw new GraftError('MODEL_NOT_FOUND', `${path}: no such file or folder.`)
  const folder = statSync(path).isDirectory() ? path : dirname(path)
  const above = basename(folder) === 'onnx' ? filesIn(dirname(folder)) : []
  const hash = createHash('sha256')
  for (const file of [...filesIn(folder), ...above])
    if (folder === path || !file.endsWith('.onnx') || file === path)
      hash.update(`${basename(file)} ${fileDigest(file)}\n`)
  return hash.digest('hex')
}
function filesIn(folder: string): string[] {
  const entries = readdirSync(folder)
    .filter((name) => !notOfTheModel.test(name))
    .sort()
  return entries.flatMap((name) => {
    const [path, stat] = [join(folder, name), statSync(join(folder, name), { throwIfNoEntry: false })]
    if (stat?.isFile()) return [path]
    return stat?.isDirectory() && parts.test(name) ? filesIn(path) : []
  })
}
