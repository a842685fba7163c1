import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineLauncher, type Job, type JobProgress, type LaunchContext } from '@graft-peft/core'
import type { Queue as JobQueue } from 'bullmq'
import { connect } from './connection.js'

/** The file by which a run says that it is over. */
export const resultName = 'result.json'

export interface QueueOptions {
  url: string
  queue: string
  /** times that a run whose process broke is tried */
  attempts: number
}
/** Milliseconds between looks at what the queue says has ended; every so many of them at everything, should the queue have missed something. */
const looking = 1000
const roundsToAll = 10

/** Runs as jobs on BullMQ, over Redis or Valkey: `graft worker --queue URL` on each machine does them. The output folder must be shared. */
export const launcher = defineLauncher<QueueOptions>({
  name: 'bullmq',
  summary:
    'runs as jobs on BullMQ over Redis or Valkey, done by graft worker on any machine that shares the output folder',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      url: { type: 'string', pattern: '^rediss?://' },
      queue: { type: 'string', default: 'graft', pattern: '^[^:]+$' },
      attempts: { type: 'integer', minimum: 1, default: 3 },
    },
    required: ['url'],
  },
  async launch(jobs, options, context) {
    // BullMQ takes 17 MB, which only who queues should pay.
    const { Queue, QueueEvents } = await import('bullmq')
    const connection = await connect(options.url, context.onNotice)
    const queue = new Queue<Job>(options.queue, { connection })
    const listening = connection.duplicate()
    listening.on('error', () => {})
    const events = new QueueEvents(options.queue, { connection: listening })
    queue.on('error', () => {})
    events.on('error', () => {})
    const byId = new Map(jobs.map((job) => [queueId(job), job]))
    events.on('progress', ({ jobId, data }) => {
      const job = byId.get(jobId)
      if (job) context.onProgress(job, data as unknown as JobProgress)
    })
    const watch = new Watch(queue, options, context)
    for (const event of ['completed', 'failed'] as const)
      events.on(event, ({ jobId }: { jobId: string }) => watch.heard(jobId))
    try {
      await watch.until(jobs)
    } finally {
      await Promise.race([
        Promise.all([events.close(), queue.close()]),
        sleep(2000, undefined, { ref: false }),
      ])
      // What didn't close in time (a Redis that is gone) would keep the process alive.
      await Promise.race([events.disconnect().catch(() => {}), sleep(500, undefined, { ref: false })])
      for (const client of [listening, connection]) client.disconnect()
    }
  },
})

/** The same run in two folders is two jobs. */
const queueId = ({ id, folder }: Job): string =>
  `${id}-${createHash('sha256').update(folder).digest('hex').slice(0, 8)}`

/** Follows jobs by what they leave in the shared folder: that outlives any queue. What the queue has forgotten is put into it again. */
class Watch {
  private readonly open = new Map<string, Job>()
  /** refusals that were told */
  private readonly said = new Set<string>()
  /** jobs that the queue says have ended */
  private readonly ended = new Set<string>()

  constructor(
    private readonly queue: JobQueue<Job>,
    private readonly options: QueueOptions,
    private readonly context: LaunchContext,
  ) {}

  async until(jobs: readonly Job[]): Promise<void> {
    for (const job of jobs) this.open.set(queueId(job), job)
    for (const job of jobs) await this.patiently(() => this.submit(job, true))
    for (let round = 0; this.open.size > 0 && !this.context.signal.aborted; round++) {
      const all = round % roundsToAll === 0
      for (const job of [...this.open.values()])
        if (all || this.ended.delete(queueId(job))) await this.look(job)
      await sleep(looking, undefined, { signal: this.context.signal }).catch(() => {})
    }
    if (this.context.signal.aborted) await this.takeBack()
  }

  heard(id: string): void {
    this.ended.add(id)
  }

  /** What an earlier comparison left under the same id is over: it has no result, or it would not be asked for. */
  private async submit(job: Job, fresh: boolean): Promise<void> {
    if (fresh) {
      const left = await this.queue.getJob(queueId(job))
      if (left && ((await left.isCompleted()) || (await left.isFailed()))) await left.remove()
    }
    const backoff = { type: 'exponential', delay: 1000 }
    await this.queue.add('run', job, {
      jobId: queueId(job),
      attempts: this.options.attempts,
      backoff,
      removeOnComplete: 10_000,
      removeOnFail: 10_000,
    })
  }

  private async look(job: Job): Promise<void> {
    if (existsSync(join(job.folder, resultName))) return this.end(job, { ok: true })
    const queued = await this.patiently(() => this.queue.getJob(queueId(job)))
    if (queued === away) return
    if (!queued) return void (await this.patiently(() => this.submit(job, false)))
    const state = await this.patiently(() => queued.getState())
    if (state === 'failed') this.end(job, { ok: false, reason: queued.failedReason })
    if (state === 'completed' && !existsSync(join(job.folder, resultName)))
      this.end(job, {
        ok: false,
        reason: `a worker says it is done, but ${job.folder} holds no result: is the folder shared between the machines?`,
      })
  }
  private end(job: Job, end: { ok: boolean; reason?: string }): void {
    this.open.delete(queueId(job))
    this.context.onEnd(job, end)
  }

  /** Jobs that no worker has begun leave the queue; those in hand go on and are found when the comparison is continued. */
  private async takeBack(): Promise<void> {
    for (const id of this.open.keys())
      await Promise.race([this.queue.remove(id).catch(() => 0), sleep(500, undefined, { ref: false })])
  }

  /** A Redis that is away makes a question wait; one that takes too long is asked again at the next look. */
  private patiently<T>(ask: () => Promise<T>): Promise<T | typeof away> {
    const answer = ask().catch((error: Error): typeof away => {
      this.complain(error)
      return away
    })
    return Promise.race([answer, sleep(10_000, away, { ref: false })])
  }
  /** What Redis itself refuses (memory, rights, a replica) doesn't pass by waiting alone: said once. */
  private complain({ message }: Error): void {
    const [kind] = message.match(/^(OOM|READONLY|NOPERM|MISCONF|NOAUTH|NOSCRIPT)\b/) ?? []
    if (!kind || this.said.has(kind)) return
    this.said.add(kind)
    this.context.onNotice(`The queue refuses: ${message} Waiting until it takes the runs; Ctrl-C stops.`)
  }
}
const away = Symbol('away')
