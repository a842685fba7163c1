import { existsSync } from 'node:fs'
import { writeAtomically, appendLine, readJsonLines } from '@graft-peft/core'
import { checked, checkedLine, readText } from '@graft-peft/core/inside'
import { type Answer, type Forgetting, resultOf, type RunResult } from './result.js'

export type { Answer, Forgetting, RunResult }

/** Results as they come, one JSON object a line. The last word on a run counts. */
export class Results {
  private readonly byId = new Map<string, RunResult>()

  /** Opens the file; a line that a crash cut short is dropped. Throws BAD_RESULTS for one that says what no run does. */
  constructor(private readonly path: string) {
    if (!existsSync(path)) return
    const lines = readJsonLines(path, 'BAD_RESULTS')
    for (const line of lines) this.keep(resultOf(checked(line, path, 'BAD_RESULTS'), `${path}:${line.line}`))
    // A torn last line would run into the next one.
    if (!readText(path).endsWith('\n'))
      writeAtomically(path, [...this.byId.values()].map((r) => checkedLine({ ...r })).join(''))
  }
  private keep(result: RunResult): void {
    this.byId.set(result.id, result)
  }

  add(result: RunResult): void {
    appendLine(this.path, checkedLine({ ...result }))
    this.keep(result)
  }
  get(id: string): RunResult | undefined {
    return this.byId.get(id)
  }
}
