import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { writeAtomically } from '@graft-peft/onnx'

export type LogEntry = { step: number } & Record<string, unknown>

/** The run's log, one JSON object a line. A line is one write, so a killed run leaves whole lines. */
export class RunLog {
  constructor(private readonly path: string) {}
  write(entry: LogEntry): void {
    appendFileSync(this.path, `${JSON.stringify(entry)}\n`)
  }
  /** What was logged so far, in order. */
  entries(): LogEntry[] {
    if (!existsSync(this.path)) return []
    const lines = readFileSync(this.path, 'utf8').split('\n')
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LogEntry)
  }
  /** Forgets what was logged after a step, and the evaluation that ends a run: a resumed run writes them again. */
  truncateAfter(step: number): void {
    if (!existsSync(this.path)) return
    const kept = this.entries().filter((entry) => entry.step <= step && entry.phase !== 'after')
    writeAtomically(this.path, kept.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
  }
}
