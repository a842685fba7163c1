import { closeSync, openSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Keeps two workers from doing one run at the same time, should the queue hand it out twice: a file in the run's folder that its holder
 * touches while it works. Ages are by the shared folder's own clock.
 */
export class Claim {
  private readonly timer: NodeJS.Timeout

  private constructor(
    private readonly path: string,
    beat: number,
  ) {
    this.timer = setInterval(() => touch(path), beat)
  }

  /** Undefined while another worker holds the run and has shown life within `patience` milliseconds. */
  static take(folder: string, owner: string, patience: number): Claim | undefined {
    const path = join(folder, 'claim')
    if (age(path, folder) > patience) rmSync(path, { force: true })
    try {
      const file = openSync(path, 'wx')
      writeSync(file, `${owner}\n`)
      closeSync(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
      throw error
    }
    return new Claim(path, patience / 4)
  }
  release(): void {
    clearInterval(this.timer)
    rmSync(this.path, { force: true })
  }
}

function age(path: string, folder: string): number {
  const held = statSync(path, { throwIfNoEntry: false })
  if (!held) return 0
  const probe = join(folder, `.now-${process.pid}`)
  closeSync(openSync(probe, 'w'))
  const now = statSync(probe).mtimeMs
  rmSync(probe, { force: true })
  return now - held.mtimeMs
}
function touch(path: string): void {
  const now = Date.now() / 1000
  try {
    utimesSync(path, now, now)
  } catch {
    // The folder is away for a moment, or the claim was taken over: the run's own files stay whole either way.
  }
}
