import { availableParallelism, freemem, totalmem } from 'node:os'
import { defineLauncher, type Job, type LaunchContext } from '@graft-peft/core'

interface Options {
  /** runs side by side at most; as many as cores and memory allow when null */
  parallel: number | null
}
/** Share of the machine's free memory that runs may fill together. */
const usable = 0.8

/** Runs on this machine: side by side as far as cores and the predicted memory go. */
export const local = defineLauncher<Options>({
  name: 'local',
  summary: 'runs on this machine, as many side by side as cores and memory allow',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    properties: { parallel: { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }], default: null } },
  },
  async launch(jobs, { parallel }, context) {
    const pool = new Pool(context, parallel ?? Number.POSITIVE_INFINITY)
    await pool.run(jobs)
  },
})

class Pool {
  private readonly running = new Map<Job, Promise<void>>()
  private readonly memory = Math.min(freemem(), totalmem()) * usable

  constructor(
    private readonly context: LaunchContext,
    private readonly most: number,
  ) {}

  async run(jobs: readonly Job[]): Promise<void> {
    const waiting = [...jobs]
    while ((waiting.length > 0 && !this.context.signal.aborted) || this.running.size > 0) {
      while (waiting.length > 0 && !this.context.signal.aborted && this.fits(waiting[0]))
        this.start(waiting.shift() as Job)
      await Promise.race(this.running.values())
    }
  }
  /** One run always fits: better slow than never. */
  private fits(job: Job): boolean {
    const all = [...this.running.keys(), job]
    const sum = (of: (j: Job) => number) => all.reduce((total, j) => total + of(j), 0)
    return (
      this.running.size === 0 ||
      (all.length <= this.most &&
        sum((j) => j.threads) <= availableParallelism() &&
        sum((j) => j.memory) <= this.memory)
    )
  }
  private start(job: Job): void {
    const { context } = this
    const done = context
      .execute(job, context.signal, (progress) => context.onProgress(job, progress))
      .then((end) => context.onEnd(job, end))
      .finally(() => this.running.delete(job))
    this.running.set(job, done)
  }
}
