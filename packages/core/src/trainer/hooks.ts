import type { Forecast } from '../compile/forecast.js'
import { type Evaluation } from '../step/evaluator.js'
import { type RunInputs } from './inputs.js'
import { type StepResult } from '../step/stepper.js'

/** When an evaluation happens: on the untrained adapter, between steps, or on the adapter that is kept. */
export type Phase = 'before' | 'during' | 'after'

/** What a run tells while it goes on. All optional. */
export interface TrainHooks {
  onStart?(info: {
    inputs: RunInputs
    trainable: number
    resumedAt: number
    compileSeconds: number
    forecast: Forecast
  }): void
  onStep?(
    info: StepResult & {
      ranks?: Record<string, number>
      step: number
      total: number
      learningRate: number
      seconds: number
    },
  ): void
  onEvaluation?(info: {
    values: Evaluation
    phase: Phase
    step: number
    part: string
    improved: boolean
  }): void
  /** examples evaluated so far, when an evaluation takes long */
  onEvaluating?(info: { part: string; done: number; total: number }): void
  onNotice?(text: string): void
  /** aborting ends the run after the step in hand, with a checkpoint */
  signal?: AbortSignal
}

/** What came of a run. Evaluations are by part of the data: validation, test. */
export interface TrainResult {
  finished: boolean
  step: number
  adapter: string
  /** after which step the parameters stood that the adapter holds */
  kept: number
  /** early stopping ended the run before its last step */
  stoppedEarly: boolean
  /** the training loss rose: from its first steps' mean to its last ones' */
  rose?: { from: number; to: number }
  /** it rose, and what is kept is no better on validation data than what training began with */
  diverged: boolean
  before: Record<string, Evaluation>
  after: Record<string, Evaluation>
}
