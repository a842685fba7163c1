import type { PullOptions } from '@graft-peft/core/app'
import { duration, note, screen } from './output.js'
import { barLine } from './screen.js'

/** seconds between lines in a pipe */
const pace = 5000

/** How much is done of what has a known end: a bar on a terminal, one line every few seconds in a pipe. */
export class Progress {
  private started = performance.now()
  private spoken = performance.now()
  private first = 0
  private share = 0

  constructor(private readonly unit = 'step') {}

  start(total: number, done = 0): void {
    this.first = done
    this.share = done / total
    this.started = performance.now()
    this.draw([`${this.unit} ${done}/${total}`], [], true)
  }

  /** `details` in the order in which they matter: on a narrow terminal the last ones give way. */
  update(done: number, total: number, details: readonly string[]): void {
    this.share = done / total
    const left = ((performance.now() - this.started) / 1000 / Math.max(1, done - this.first)) * (total - done)
    this.draw([`${this.unit} ${done}/${total}`, `${duration(left)} left`], details, done === total)
  }

  /** Says what happens between steps, when it takes long. */
  aside(text: string): void {
    this.draw([text])
  }

  private draw(must: readonly string[], rest: readonly string[] = [], urgent = false): void {
    if (screen.isTerminal) return screen.draw([barLine(this.share, screen.columns, must, rest)], urgent)
    if (performance.now() - this.spoken < pace && !(urgent && this.share === 1)) return
    this.spoken = performance.now()
    note([...must, ...rest].join(' · '))
  }

  stop(): void {
    screen.close()
  }
}

/** Counts what has no known end, every few seconds, with the speed. */
export class Counter {
  done = 0
  private readonly started = performance.now()
  private spoken = performance.now()

  constructor(
    private readonly silent: boolean,
    private readonly unit: string,
  ) {}

  count(): void {
    this.done++
    if (this.silent) return
    const rate = this.done / ((performance.now() - this.started) / 1000)
    this.spoken = drawOrSay(`${this.done} ${this.unit} · ${rate.toFixed(1)}/s`, this.spoken)
  }
  stop(): void {
    screen.close()
  }
}

/** Shows on the error stream how a pull goes. */
export function pulling(): Pick<PullOptions, 'onProgress' | 'onNotice'> {
  const started = performance.now()
  let spoken = performance.now()
  const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1)
  return {
    onNotice: note,
    onProgress({ file, done, total }) {
      const rate = done / Math.max(1e-3, (performance.now() - started) / 1000)
      const left = duration((total - done) / Math.max(1, rate))
      const text = `pulling ${file} · ${megabytes(done)}/${megabytes(total)} MB · ${megabytes(rate)} MB/s`
      if (done < total) spoken = drawOrSay(`${text} · ${left} left`, spoken)
      else {
        screen.close()
        note(text)
      }
    },
  }
}

/** On a terminal at once, in a pipe where nothing was said for long; returns when it was last said. */
function drawOrSay(text: string, spoken: number): number {
  screen.draw([text])
  if (screen.isTerminal || performance.now() - spoken < pace) return spoken
  note(text)
  return performance.now()
}
