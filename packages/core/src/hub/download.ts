import { createHash, type Hash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { GraftError } from '../errors.js'
import { StatusError } from './errors.js'

/** A file of a repository: where it comes from, and what its bytes must be. */
export interface RemoteFile {
  path: string
  url: string
  size: number
  checksum: { kind: 'sha256' | 'git'; value: string }
}
export interface DownloadOptions {
  token: string | undefined
  signal?: AbortSignal
  onBytes?(count: number): void
  onWait?(seconds: number, why: string): void
}

const attempts = 5
const longestWait = 60

/**
 * Downloads a file to `target`, going on where an earlier download of it stopped, and checks its bytes before it gets its name.
 * Throws CHECKSUM for other bytes than the repository lists, and what the last of several attempts threw.
 */
export async function download(file: RemoteFile, target: string, options: DownloadOptions): Promise<void> {
  const partial = `${target}.incomplete`
  mkdirSync(dirname(target), { recursive: true })
  for (let attempt = 1; ; attempt++) {
    try {
      await receive(file, partial, options)
      break
    } catch (error) {
      const wait = waitFor(error, attempt)
      if (wait === undefined || attempt === attempts || options.signal?.aborted) throw error
      options.onWait?.(wait, (error as Error).message)
      await new Promise((resolve) => setTimeout(resolve, wait * 1000))
    }
  }
  if ((await digest(file, partial)) !== file.checksum.value) {
    rmSync(partial, { force: true })
    throw new GraftError(
      'CHECKSUM',
      `${file.path}: the bytes received are not those that the repository lists (${file.checksum.kind} differs). They were thrown away; try again.`,
    )
  }
  renameSync(partial, target)
}

/** Seconds to wait before another attempt; undefined where none would help. */
function waitFor(error: unknown, attempt: number): number | undefined {
  if (error instanceof RetryLater) return error.seconds <= longestWait ? error.seconds : undefined
  if (error instanceof StatusError) return error.statusCode >= 500 ? 2 ** attempt / 4 : undefined
  return error instanceof GraftError ? undefined : 2 ** attempt / 4
}
class RetryLater extends StatusError {
  constructor(
    status: number,
    readonly seconds: number,
  ) {
    super(status)
  }
}

async function receive(
  { path, url, size }: RemoteFile,
  partial: string,
  { token, signal, onBytes }: DownloadOptions,
): Promise<void> {
  const have = existsSync(partial) ? statSync(partial).size : 0
  if (have === size) return
  const start = have < size ? have : 0
  const headers = {
    ...(token ? { authorization: `Bearer ${token}` } : {}),
    ...(start > 0 ? { range: `bytes=${start}-` } : {}),
  }
  const response = await fetch(url, { headers, signal })
  if (response.status === 416) rmSync(partial, { force: true })
  if (!response.ok)
    throw response.status === 429
      ? new RetryLater(429, Number(response.headers.get('retry-after') ?? 1))
      : new StatusError(response.status)
  const fd = openSync(partial, response.status === 206 ? 'a' : 'w')
  let written = response.status === 206 ? start : 0
  onBytes?.(written)
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      written += chunk.length
      if (written > size)
        throw new GraftError(
          'CHECKSUM',
          `${path}: the server sends more than the ${size} bytes that the repository lists. Stopped.`,
        )
      for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done)
      onBytes?.(chunk.length)
    }
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  if (written < size) throw new Error(`${path}: the connection ended after ${written} of ${size} bytes`)
}

/** Large files are listed by the SHA-256 of their bytes, small ones as git names them: SHA-1 of a header and the bytes. */
async function digest({ size, checksum }: RemoteFile, path: string): Promise<string> {
  const hash: Hash =
    checksum.kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
