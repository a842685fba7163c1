import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job, JobEnd, LaunchContext } from '@graft-peft/core'
import type { Job as Queued } from 'bullmq'
import { Claim } from './claim.js'
import { connect } from './connection.js'
import { resultName } from './launcher.js'

export interface WorkerOptions {
  url: string
  queue: string
  /** runs side by side */
  concurrency: number
  /** seconds without a sign of life after which a worker's run is given to another */
  patience: number
  execute: LaunchContext['execute']
  onNotice(text: string): void
  /** aborting ends the worker; runs in hand keep their checkpoint and go back to the queue */
  signal: AbortSignal
}
/** milliseconds between reports of progress */
const reporting = 1000

/** Takes runs from a queue until told to stop. Throws QUEUE_UNREACHABLE. */
export async function work(options: WorkerOptions): Promise<void> {
  const { url, queue, concurrency, patience, onNotice, signal } = options
  const connection = await connect(url, onNotice)
  const { Worker } = await import('bullmq')
  const worker = new Worker<Job>(queue, (job) => perform(job, options), {
    connection,
    concurrency,
    lockDuration: patience * 1000,
    stalledInterval: (patience * 1000) / 2,
    maxStalledCount: 10,
    name: `${hostname()}/${process.pid}`,
  })
  // A Redis that is gone is reported by the connection; a lock that was lost meanwhile only means that another looks at the finished run.
  worker.on('error', () => {})
  worker.on('completed', ({ id }) => onNotice(`${id} done`))
  worker.on('failed', (job, error) => onNotice(`${job?.id} failed: ${error.message}`))
  await new Promise<void>((stop) =>
    signal.aborted ? stop() : signal.addEventListener('abort', () => stop(), { once: true }),
  )
  await Promise.race([worker.close(), sleep(10_000)])
  connection.disconnect()
}

async function perform(
  queued: Queued<Job>,
  { execute, patience, onNotice, signal }: WorkerOptions,
): Promise<void> {
  const job = checkedJob(queued.data)
  const done = () => existsSync(join(job.folder, resultName))
  const claim = await claimed(job, patience * 1000, done)
  if (!claim) return
  try {
    onNotice(`${job.id} begins`)
    let told = 0
    const end: JobEnd = await execute(job, AbortSignal.any([signal, claim.lost.signal]), (progress) => {
      if (Date.now() - told < reporting && progress.step < progress.total) return
      told = Date.now()
      queued.updateProgress({ ...progress }).catch(() => {})
    })
    // Whoever has the run now says what comes of it.
    if (!end.ok && !claim.lost.signal.aborted) throw new Error(end.reason)
  } finally {
    claim.release()
  }
}

/** A job comes from whoever may write to the queue. */
function checkedJob(job: Job): Job {
  const { id, folder, threads } = (job ?? {}) as Partial<Job>
  if (
    typeof id !== 'string' ||
    typeof folder !== 'string' ||
    !isAbsolute(folder) ||
    !Number.isSafeInteger(threads)
  )
    throw new Error('the job names no run: expected id, folder (an absolute path) and threads')
  if (!existsSync(join(folder, 'run.json')))
    throw new Error(
      `${folder}/run.json is not there: is the output folder shared with this machine, under the same path?`,
    )
  return job
}

/** Waits for a run that another worker still holds: until it is done, or its holder shows no life. */
async function claimed({ folder }: Job, patience: number, done: () => boolean): Promise<Claim | undefined> {
  for (;;) {
    if (done()) return undefined
    const claim = Claim.take(folder, `${hostname()}/${process.pid}`, patience)
    if (claim) return claim
    await sleep(patience / 4)
  }
}
