import { GraftError } from '../errors.js'
import type { BuiltObjective, Supervision } from './objective.js'

const bad = (objective: string, what: string): GraftError =>
  new GraftError(
    'BAD_OBJECTIVE',
    `Objective ${objective}: ${what}. This is a fault of the objective's package.`,
  )

/** Throws BAD_OBJECTIVE for what `build` must not return. */
export function checkBuilt(objective: string, built: BuiltObjective): void {
  const { lossSum, partials, predictions } = built ?? {}
  if (!lossSum || !predictions || !(partials instanceof Map))
    throw bad(
      objective,
      'build should return { lossSum, partials, predictions }; partials is new Map() for none',
    )
  if (lossSum.shape?.length !== 0)
    throw bad(
      objective,
      `lossSum is [${lossSum.shape?.join(', ')}]; expected a scalar, the sum over rows (g.sumAll)`,
    )
  if (predictions.shape && predictions.shape.length !== 1)
    throw bad(objective, `predictions is [${predictions.shape.join(', ')}]; expected one per supervised row`)
}

/** Throws BAD_OBJECTIVE for what `supervise` must not return. */
export function checkSupervision(objective: string, { feeds, count, targets }: Supervision): void {
  if (!feeds || !targets) throw bad(objective, 'supervise should return { feeds, count, targets }')
  if (count !== targets.length)
    throw bad(objective, `supervise counts ${count} supervised rows and gives ${targets.length} targets`)
}

/** Throws BAD_OBJECTIVE where not every supervised row has a prediction. */
export function checkPredictions(objective: string, predictions: ArrayLike<number>, count: number): void {
  if (predictions.length !== count)
    throw bad(objective, `${count} rows are supervised, and ${predictions.length} are predicted`)
}
