import type { RunResult } from './results.js'
import { type Interval } from './statistics.js'

/** What one would take, given what matters most. */
export interface Pick {
  priority: string
  label: string
  why: string
}

/** One row of the table: an entry at its best learning rate, over seeds. */
export interface Row {
  label: string
  method: string
  options: Record<string, unknown>
  learning_rate: number
  /** other rates that were tried, with their mean validation score */
  rates: { learning_rate: number; score: number }[]
  /** runs done; failed ones say why */
  done: number
  failures: string[]
  /** scores of the chosen part, by seed */
  bySeed: Record<number, number>
  metric?: Interval
  validation?: Interval
  forgetting?: Interval
  parameters?: number
  trainable?: number
  adapter_bytes?: number
  compile_s?: number
  step_s?: number
  tokens_per_s?: number
  train_s?: number
  peak_bytes?: number
  predicted_bytes?: number
  flops?: number
  /** whether it beats what training began with: beyond chance, or at all where there is one seed */
  gained: boolean
  /** runs whose loss rose and left nothing better than what they began with */
  diverged: number
  /** labels of rows whose metric can't be told from this one's at so many seeds */
  alike: string[]
}

export interface Summary {
  graft: string
  node: string
  runtime: string
  machine: string
  model: string
  data: { train: string; validation: string | number; test: string | null }
  metric: { name: string; better: 'higher' | 'lower'; share: boolean; part: string }
  seeds: readonly number[]
  rows: Row[]
  picks: Pick[]
  /** runs still to be done */
  missing: number
  config: unknown
  runs: RunResult[]
}
