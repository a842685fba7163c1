import { Presets, SingleBar } from 'cli-progress'
import type { PullOptions } from '@graft-peft/core'
import { duration, note } from './output.js'

/** A progress line on the error stream: redrawn on a terminal, one line every few seconds in a pipe. */
export class Progress {
  private started = performance.now()
  private bar?: SingleBar
  private lastLine = performance.now()
  private first = 0

  constructor(
    private readonly silent: boolean,
    private readonly unit = 'step',
  ) {}

  start(total: number, done = 0): void {
    this.first = done
    this.started = performance.now()
    if (this.silent || !process.stderr.isTTY) return
    this.bar = new SingleBar(
      { stream: process.stderr, format: '{bar} {text}', barsize: 24, hideCursor: true, gracefulExit: false },
      Presets.shades_classic,
    )
    this.bar.start(total, done, { text: '' })
  }

  update(done: number, total: number, details: readonly string[]): void {
    if (this.silent) return
    const left = ((performance.now() - this.started) / 1000 / Math.max(1, done - this.first)) * (total - done)
    const text = [`${this.unit} ${done}/${total}`, ...details, `${duration(left)} left`].join(' · ')
    if (this.bar) this.bar.update(done, { text })
    else if (performance.now() - this.lastLine > 5000 || done === total) {
      this.lastLine = performance.now()
      process.stderr.write(`${text}\n`)
    }
  }

  /** Says what happens between steps, when it takes long. */
  aside(text: string): void {
    if (this.silent) return
    if (this.bar) this.bar.update({ text })
    else if (performance.now() - this.lastLine > 5000) {
      this.lastLine = performance.now()
      process.stderr.write(`${text}\n`)
    }
  }

  /** Prints a line above the bar. */
  say(text: string): void {
    if (this.silent) return
    if (this.bar) process.stderr.write(`\r\x1b[K${text}\n`)
    else process.stderr.write(`${text}\n`)
    this.bar?.render()
  }

  stop(): void {
    this.bar?.stop()
    this.bar = undefined
  }
}

/** Counts what has no known end, on the error stream: every few seconds, with the speed. */
export class Counter {
  done = 0
  private readonly started = performance.now()
  private shown = performance.now()

  constructor(
    private readonly silent: boolean,
    private readonly unit: string,
  ) {}

  count(): void {
    this.done++
    const now = performance.now()
    if (this.silent || now - this.shown < (process.stderr.isTTY ? 200 : 5000)) return
    this.shown = now
    const text = `${this.done} ${this.unit} · ${(this.done / ((now - this.started) / 1000)).toFixed(1)}/s`
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`)
  }
  stop(): void {
    if (!this.silent && process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }
}

/** Shows on the error stream how a pull goes. */
export function pulling(): Pick<PullOptions, 'onProgress' | 'onNotice'> {
  const started = performance.now()
  let shown = performance.now()
  const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1)
  return {
    onNotice: note,
    onProgress({ file, done, total }) {
      const now = performance.now()
      const whole = done >= total
      if (!whole && now - shown < (process.stderr.isTTY ? 200 : 5000)) return
      shown = now
      const rate = done / Math.max(1e-3, (now - started) / 1000)
      const text = `pulling ${file} · ${megabytes(done)}/${megabytes(total)} MB · ${megabytes(rate)} MB/s · ${duration((total - done) / Math.max(1, rate))} left`
      process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}${whole ? '\n' : ''}` : `${text}\n`)
    },
  }
}
