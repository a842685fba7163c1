import { madeHere } from '../copy.js'

/** What a metric sees of one evaluated batch. */
export interface Scored {
  /** per supervised row: the most likely class or token, or the number predicted */
  predictions: readonly number[]
  targets: readonly number[]
  /** summed loss over the rows */
  loss: number
  /** names of classes */
  labels: readonly string[]
  /** rows of each example, where examples have several */
  lengths?: readonly number[]
}
/** Gathers batches and gives one number at the end. */
export interface Tally {
  add(batch: Scored): void
  result(): number
}

/** A number that says how good predictions are. */
export interface Metric {
  kind: 'metric'
  apiVersion: 1
  name: string
  better: 'higher' | 'lower'
  /** whether it is a share, shown in per cent */
  isShare: boolean
  start(): Tally
}

/** Gives a metric its types and its kind; a package default-exports the result. */
export const defineMetric = (metric: Omit<Metric, 'kind' | 'apiVersion'>): Metric => ({
  kind: 'metric',
  apiVersion: 1,
  ...metric,
  ...madeHere,
})
