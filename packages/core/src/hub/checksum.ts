import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { fileDigest, hashInto } from '../files/digest.js'

/**
 * What a file of a repository is known by, and its name among the cache's blobs: SHA-256 of the bytes for large
 * files (64 digits), what git names the others by (40 digits).
 */
export const isDigest = (v: unknown): v is string =>
  typeof v === 'string' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(v)
const isSha256 = (digest: string): boolean => digest.length === 64

/** A file's digest, of the same kind as the one expected. Throws errors of the disk in words. */
export function digestLike(expected: string, path: string): string {
  const hash = isSha256(expected)
    ? createHash('sha256')
    : createHash('sha1').update(`blob ${statSync(path).size}\0`)
  return hashInto(hash, path).digest('hex')
}

/** Whether a file is there and holds the bytes it is known by. A large one is read once, and again when it changed. */
export function isIntact(path: string, digest: string): boolean {
  if (!existsSync(path)) return false
  return (isSha256(digest) ? fileDigest(path) : digestLike(digest, path)) === digest
}
