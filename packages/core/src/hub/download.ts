import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isAlive } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { digestLike } from './checksum.js'
import { ask, chunks, Silence, StatusError } from './request.js'
import type { HubSettings } from './settings.js'
import { makeFolder } from '../files/folders.js'

/** A file of a repository: where it comes from, and what its bytes must be. */
export interface RemoteFile {
  path: string
  url: string
  size: number
  digest: string
}
export interface DownloadOptions {
  settings: HubSettings
  signal?: AbortSignal
  onBytes?(count: number): void
  onWait?(seconds: number, why: string): void
}

const attempts = 5
const longestWait = 60

/**
 * Downloads a file to `target`, going on where an earlier download of it stopped, and checks its bytes before
 * it gets its name.
 * Throws CHECKSUM for other bytes than the repository lists, and what the last of several attempts threw.
 */
export async function download(file: RemoteFile, target: string, options: DownloadOptions): Promise<void> {
  makeFolder(dirname(target))
  const partial = goOn(target)
  for (let attempt = 1; ; attempt++) {
    const before = sizeOf(partial)
    try {
      await receive(file, partial, options)
      break
    } catch (error) {
      const wait = waitFor(error, attempt)
      const again = error instanceof Silence && sizeOf(partial) === before ? attempt < 2 : attempt < attempts
      if (wait === undefined || !again || options.signal?.aborted) throw error
      options.onWait?.(wait, (error as Error).message)
      await new Promise((resolve) => setTimeout(resolve, wait * 1000))
    }
  }
  if (digestLike(file.digest, partial) !== file.digest) {
    rmSync(partial, { force: true })
    throw new GraftError(
      'CHECKSUM',
      `${file.path}: the bytes received are not those that the repository lists (their digest differs). They were thrown away; try again.`,
    )
  }
  renameSync(partial, target)
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
/**
 * A file of this process's own to download into. What a process that is gone had of it is taken over:
 * renaming it is what only one can do.
 */
function goOn(target: string): string {
  const own = `${target}.${process.pid}.incomplete`
  for (const name of readdirSync(dirname(target))) {
    const rest = name.startsWith(basename(target)) ? name.slice(basename(target).length) : ''
    const [, pid] = rest.match(/^(?:\.(\d+))?\.incomplete$/) ?? ['', '0']
    if (rest === '' || pid === '0' || (pid !== undefined && isAlive(Number(pid)))) continue
    try {
      renameSync(join(dirname(target), name), own)
      return own
    } catch {
      // Another process was faster.
    }
  }
  return own
}

/** Seconds to wait before another attempt; undefined where none would help. */
function waitFor(error: unknown, attempt: number): number | undefined {
  if (error instanceof RetryLater) return error.seconds <= longestWait ? error.seconds : undefined
  if (error instanceof StatusError) return error.statusCode >= 500 ? 2 ** attempt / 4 : undefined
  return error instanceof GraftError ? undefined : 2 ** attempt / 4
}
/** Seconds or a date, as HTTP has it; a second for anything else. */
function secondsOf(text: string | null): number {
  const seconds = /^\d+$/.test(text ?? '') ? Number(text) : (Date.parse(text ?? '') - Date.now()) / 1000
  return Number.isNaN(seconds) ? 1 : Math.max(1, Math.ceil(seconds))
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
  { settings, signal, onBytes }: DownloadOptions,
): Promise<void> {
  const have = existsSync(partial) ? statSync(partial).size : 0
  if (size === 0) closeSync(openSync(partial, 'w'))
  if (have === size) return
  const start = have < size ? have : 0
  const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {}
  const response = await ask(url, settings, { headers, signal })
  if (response.status === 416) rmSync(partial, { force: true })
  if (!response.ok)
    throw response.status === 429
      ? new RetryLater(429, secondsOf(response.headers.get('retry-after')))
      : new StatusError(response.status)
  const fd = openSync(partial, response.status === 206 ? 'a' : 'w')
  let written = response.status === 206 ? start : 0
  onBytes?.(written)
  try {
    for await (const chunk of chunks(response, settings)) {
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
