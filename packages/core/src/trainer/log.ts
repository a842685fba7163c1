import { writeAtomically } from '@graft-peft/onnx'
import { appendLine, checkedLine } from '../files/checked-lines.js'
import { type LogLine, measured, readLog } from '../files/log.js'

/** The run's log, one JSON object a line. */
export class RunLog {
  constructor(private readonly path: string) {}
  /** Throws DISK_FULL, and other errors of the disk in words. */
  write(entry: { step: number } & Record<string, unknown>): void {
    appendLine(this.path, checkedLine(entry, measured))
  }
  /** What was logged so far, in order. Throws BAD_LOG. */
  entries(): LogLine[] {
    return readLog(this.path)
  }
  /**
   * Forgets what was logged after a step, and the evaluation that ends a run: a resumed run writes them
   * again. Throws BAD_LOG.
   */
  truncateAfter(step: number): void {
    const kept = this.entries().filter((e) => e.step <= step && e.phase !== 'after')
    writeAtomically(this.path, kept.map((entry) => checkedLine(entry, measured)).join(''))
  }
}
