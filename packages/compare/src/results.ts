import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { writeAtomically } from '@graft-peft/core'
import { type Evaluation } from '@graft-peft/core/app'

/** Loss on a general text, before training and after. */
export interface Forgetting {
  before: number
  after: number
}
/** A test example, what was to be said, and what was. */
export interface Answer {
  input: string
  expected: string
  answer: string
}
/** What came of a run. Everything but the identity is absent where it failed or doesn't apply. */
export interface RunResult {
  id: string
  label: string
  method: string
  seed: number
  learning_rate: number
  status: 'done' | 'failed'
  /** why it failed */
  reason?: string
  /** of the base */
  parameters?: number
  trainable?: number
  adapter_bytes?: number
  examples?: number
  steps?: number
  tokens?: number
  compile_s?: number
  /** median of a step */
  step_s?: number
  train_s?: number
  tokens_per_s?: number
  peak_bytes?: number
  predicted_bytes?: number
  /** work of the whole training, from the graph */
  flops?: number
  /** scores by part of the data */
  before?: Record<string, Evaluation>
  after?: Record<string, Evaluation>
  forgetting?: Forgetting
  answers?: { shown: Answer[]; exact_match: number }
  /** digest of all batches in their order: the same for every method */
  order?: string
  /** training loss, thinned out: [step, mean over the steps since the point before] */
  curve?: [number, number][]
  validation?: ({ step: number } & Evaluation)[]
  /** rank in use per module, at some steps, for methods that change it */
  ranks?: { step: number; ranks: Record<string, number> }[]
}

/** Results as they come, one JSON object a line. The last word on a run counts. */
export class Results {
  private readonly byId = new Map<string, RunResult>()

  /** Opens the file; a line that a crash cut short is dropped. */
  constructor(private readonly path: string) {
    if (!existsSync(path)) return
    const text = readFileSync(path, 'utf8')
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    if (whole !== text) writeAtomically(path, whole)
    for (const line of whole.split('\n')) if (line !== '') this.keep(JSON.parse(line) as RunResult)
  }
  private keep(result: RunResult): void {
    this.byId.set(result.id, result)
  }

  add(result: RunResult): void {
    appendFileSync(this.path, `${JSON.stringify(result)}\n`)
    this.keep(result)
  }
  get(id: string): RunResult | undefined {
    return this.byId.get(id)
  }
}
