import { randomBytes } from 'node:crypto'
import {
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { diskError, isAlive, partialName } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { makeFolder } from './folders.js'

/** Who works in a folder. */
interface Holder {
  host: string
  pid: number
  /** when the process began, in the kernel's ticks: a number of a process is given out again */
  since: string
  token: string
}
const lockFile = '.lock'
/** milliseconds between signs of life, and without one until a holder elsewhere is taken for gone */
const beat = 5_000
const patience = 60_000

/**
 * One process at a time in an output folder. The holder touches its file while it works; who ended without a word is found out by its
 * process on the same machine, by silence on another. Whoever lost the folder meanwhile (a machine that slept) is told before it writes.
 */
export class FolderLock {
  private readonly timer: NodeJS.Timeout
  private constructor(
    private readonly folder: string,
    private readonly token: string,
  ) {
    this.timer = setInterval(() => this.touch(), beat).unref()
  }

  /** Throws OUTPUT_IN_USE naming the other process, and errors of the disk in words. */
  static take(folder: string): FolderLock {
    const lock = FolderLock.attempt(folder, false)
    if (lock) return lock
    const { pid, host } = read(folder) ?? { pid: '(unknown)', host: hostname() }
    throw new GraftError(
      'OUTPUT_IN_USE',
      `${folder}: another run works here, process ${pid} on ${host}. Wait for it, stop it, or choose another output. (Should that process be gone, remove ${join(folder, lockFile)}.)`,
    )
  }
  /** Waits for whoever works in the folder; a holder that is silent for long, its machine asleep, is taken over. */
  static async wait(folder: string, signal?: AbortSignal): Promise<FolderLock | undefined> {
    while (!signal?.aborted) {
      const lock = FolderLock.attempt(folder, true)
      if (lock) return lock
      await sleep(500, undefined, { signal }).catch(() => {})
    }
    return undefined
  }

  private static attempt(folder: string, evenAlive: boolean): FolderLock | undefined {
    try {
      makeFolder(folder)
      const holder = read(folder)
      if (holder && isGone(folder, holder, evenAlive)) remove(folder, holder.token)
      const token = randomBytes(9).toString('hex')
      return create(folder, token) ? new FolderLock(folder, token) : undefined
    } catch (cause) {
      throw diskError(cause, folder)
    }
  }

  private touch(): void {
    if (this.held) utimesSync(join(this.folder, lockFile), now(this.folder), now(this.folder))
  }
  private get held(): boolean {
    return read(this.folder)?.token === this.token
  }
  /** To be asked before each write. Throws OUTPUT_TAKEN where another process has the folder now. */
  require(): void {
    if (this.held) return
    throw new GraftError(
      'OUTPUT_TAKEN',
      `${this.folder}: another process took this run over while this one was silent, or the folder was removed. Nothing more is written here.`,
    )
  }
  /** Gives the folder free; one that is empty then is removed. */
  release(): void {
    clearInterval(this.timer)
    if (!this.held) return
    rmSync(join(this.folder, lockFile), { force: true })
    try {
      rmdirSync(this.folder)
    } catch {
      // It holds a run, or is where a disk is mounted.
    }
  }
}

function create(folder: string, token: string): boolean {
  const holder: Holder = { host: hostname(), pid: process.pid, since: begun(process.pid), token }
  try {
    const fd = openSync(join(folder, lockFile), 'wx')
    writeSync(fd, JSON.stringify(holder))
    closeSync(fd)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
/** Who holds a folder; undefined where nobody does. A file that says nothing yet was just made. */
function read(folder: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, lockFile), 'utf8')) as Holder
  } catch {
    const made = statSync(join(folder, lockFile), { throwIfNoEntry: false })
    return made && { host: '(unknown)', pid: 0, since: '', token: '' }
  }
}
function isGone(folder: string, { host, pid, since }: Holder, evenAlive: boolean): boolean {
  const here = host === hostname()
  if (here && (!isAlive(pid) || begun(pid) !== since)) return true
  if (here && !evenAlive) return false
  const touched = statSync(join(folder, lockFile), { throwIfNoEntry: false })?.mtimeMs
  return touched !== undefined && now(folder) * 1000 - touched > (evenAlive ? patience / 4 : patience)
}
/** Of two that find a holder gone, one takes its file away. */
function remove(folder: string, token: string): void {
  const aside = join(folder, `${lockFile}-${token}-gone`)
  try {
    renameSync(join(folder, lockFile), aside)
    rmSync(aside, { force: true })
  } catch {
    // The other one was faster.
  }
}
/** Seconds by the folder's own clock, which all machines that share it see. */
function now(folder: string): number {
  const probe = partialName(join(folder, 'now'))
  closeSync(openSync(probe, 'wx'))
  const { mtimeMs } = statSync(probe)
  rmSync(probe, { force: true })
  return mtimeMs / 1000
}
/** Where the system tells (Linux); elsewhere the process's number alone counts. */
function begun(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[19]
  } catch {
    return ''
  }
}
