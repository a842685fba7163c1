import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { diskError } from './disk-error.js'

/** Names end in the writer's machine and process, and a number of the file's own. */
const here = hostname()
  .replace(/[^\w-]/g, '_')
  .slice(0, 40)
const ending = /^\.([\w-]+)\.(\d+)\.[0-9a-f]+\.partial$/

/**
 * A name beside `path` that is nobody else's, for what becomes `path` when it is whole: two processes that write one file never touch each
 * other's bytes. What earlier processes of this machine left, killed in the middle, is removed.
 */
export function partialName(path: string): string {
  const prefix = `.${basename(path).slice(0, 120)}`
  sweep(dirname(path), prefix)
  return join(dirname(path), `${prefix}.${here}.${process.pid}.${randomBytes(6).toString('hex')}.partial`)
}
function sweep(folder: string, prefix: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const [, machine, pid] = (name.startsWith(prefix) && name.slice(prefix.length).match(ending)) || []
      if (machine === here && !isAlive(Number(pid))) rmSync(join(folder, name), { force: true })
    }
  } catch {
    // A folder that can't be read is the writer's business.
  }
}
/** Whether a process of this machine still runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Writes a file so that it is either whole or absent: a temporary neighbour, synced, then renamed. */
export function writeAtomically(path: string, bytes: Uint8Array | string): void {
  const file = new AtomicFile(path)
  try {
    file.write(bytes)
    file.finish()
  } finally {
    file.discard()
  }
}

/** A file written piece by piece that appears whole, when finished, or not at all. Throws DISK_FULL and other errors of the disk in words. */
export class AtomicFile {
  private readonly partial: string
  private fd?: number
  constructor(private readonly path: string) {
    this.partial = partialName(path)
    this.fd = this.guarded(() => openSync(this.partial, 'wx'))
  }
  private guarded<T>(act: () => T): T {
    try {
      return act()
    } catch (error) {
      throw diskError(error, this.path)
    }
  }
  /** At the end, or at a place of its own. */
  write(bytes: Uint8Array | string, at?: number): void {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    this.guarded(() => {
      for (let done = 0; done < buffer.length; ) {
        const place = at === undefined ? null : at + done
        done += writeSync(this.fd as number, buffer, done, Math.min(buffer.length - done, 2 ** 30), place)
      }
    })
  }
  /** Puts the bytes on the disk; the file has its name once this and `finish` are done. */
  sync(): void {
    this.guarded(() => fsyncSync(this.fd as number))
  }
  finish(): void {
    this.sync()
    this.guarded(() => renameSync(this.partial, this.path))
    this.discard()
  }
  /** Closes the file and removes what is unfinished; nothing once it is finished. */
  discard(): void {
    if (this.fd === undefined) return
    closeSync(this.fd)
    this.fd = undefined
    rmSync(this.partial, { force: true })
  }
}
