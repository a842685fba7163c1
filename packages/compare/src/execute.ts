import { fork } from 'node:child_process'
import { existsSync, openSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Job, JobEnd, JobProgress } from '@graft-peft/core'
import { resultFile } from './run.js'
import { makeFolder } from '@graft-peft/core/inside'

/**
 * Does a job in a process of its own: its peak memory is its alone, and a crash takes nothing else with it. `program` is the command
 * line's script, `flags` what it is told besides. What it prints goes into the run's folder. A child whose parent is gone ends at once.
 */
export function execute(
  program: string,
  { folder }: Job,
  signal: AbortSignal,
  onProgress: (progress: JobProgress) => void,
  flags: readonly string[] = [],
): Promise<JobEnd> {
  makeFolder(folder)
  const output = openSync(join(folder, 'output.txt'), 'a')
  const child = fork(program, ['run', folder, ...flags], { stdio: ['ignore', output, output, 'ipc'] })
  closeSync(output)
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  child.on('message', (progress) => onProgress(progress as JobProgress))
  return new Promise((settle) => {
    const end = (reason: string) => {
      signal.removeEventListener('abort', stop)
      settle(existsSync(resultFile(folder)) ? { ok: true } : { ok: false, reason })
    }
    child.once('error', (error) => end(`its process could not be started: ${error.message}`))
    child.once('close', (code, by) =>
      end(
        by
          ? `its process was ended by ${by}${by === 'SIGKILL' ? ', as when memory runs out' : ''}`
          : `its process ended with code ${code}: ${lastLine(folder)}`,
      ),
    )
  })
}
const lastLine = (folder: string): string =>
  readFileSync(join(folder, 'output.txt'), 'utf8').trim().split('\n').at(-1) as string
