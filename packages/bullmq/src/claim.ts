import { randomUUID } from 'node:crypto'
import {
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

/**
 * Keeps two workers from doing one run at the same time, should the queue hand it out twice: a file in the run's folder that its holder
 * touches while it works. Times are by the shared folder's own clock. A holder that was silent for long (a machine that slept) finds
 * another's name in it, and is told.
 */
export class Claim {
  private readonly timer: NodeJS.Timeout
  /** aborted when another worker has taken the run over */
  readonly lost = new AbortController()

  private constructor(
    private readonly folder: string,
    private readonly mark: string,
    beat: number,
  ) {
    this.timer = setInterval(() => this.touch(), beat)
  }

  /** Undefined while another worker holds the run and has shown life within `patience` milliseconds. */
  static take(folder: string, owner: string, patience: number): Claim | undefined {
    const path = join(folder, 'claim')
    if (age(path, folder) > patience) setAside(path)
    const mark = `${owner} ${randomUUID()}\n`
    try {
      const file = openSync(path, 'wx')
      writeSync(file, mark)
      closeSync(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
      throw error
    }
    return new Claim(folder, mark, patience / 4)
  }
  release(): void {
    clearInterval(this.timer)
    if (this.holder() === this.mark) rmSync(join(this.folder, 'claim'), { force: true })
  }

  private holder(): string | undefined {
    try {
      return readFileSync(join(this.folder, 'claim'), 'utf8')
    } catch {
      return undefined
    }
  }
  private touch(): void {
    const holder = this.holder()
    // The folder may be away for a moment; another's name in the claim is no such moment.
    if (holder !== undefined && holder !== this.mark) return this.lost.abort()
    try {
      const now = clock(this.folder) / 1000
      if (holder === this.mark) utimesSync(join(this.folder, 'claim'), now, now)
    } catch {
      // As above: the run's own files stay whole either way.
    }
  }
}

/** Of several that find a claim too old, one takes it away: a name of one's own can be moved to by one alone. */
function setAside(path: string): void {
  const aside = `${path}-${randomUUID()}`
  try {
    renameSync(path, aside)
    rmSync(aside, { force: true })
  } catch {
    // Another was faster.
  }
}
function age(path: string, folder: string): number {
  const held = statSync(path, { throwIfNoEntry: false })
  return held ? clock(folder) - held.mtimeMs : 0
}
/** Milliseconds by the clock of whoever keeps the folder: that of a file made just now. */
function clock(folder: string): number {
  const probe = join(folder, `.now-${process.pid}-${randomUUID()}`)
  closeSync(openSync(probe, 'wx'))
  const now = statSync(probe).mtimeMs
  rmSync(probe, { force: true })
  return now
}
