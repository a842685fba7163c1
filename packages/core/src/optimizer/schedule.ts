import { madeHere } from '../copy.js'
import { GraftError } from '../errors.js'
import { noOptions } from './optimizer.js'

/** Where in a run a step stands. */
export interface SchedulePlace {
  /** share of the steps after warm-up that lie before this one, 0 … 1 */
  share: number
  /** 1, 2, … of `total`, warm-up included */
  step: number
  total: number
}
/** How the learning rate goes over a run, once it has warmed up: a config names it as training.schedule. */
export interface Schedule<Options = Record<string, unknown>> {
  kind: 'schedule'
  apiVersion: 1
  name: string
  /** JSON Schema of options beside the name, as in schedule: { name: mine, … } */
  configSchema: object
  /** What training.learning_rate is multiplied by: finite, 0 or more. */
  factor(place: SchedulePlace, options: Options): number
}

/** Gives a schedule its types and its kind; a package default-exports the result. */
export const defineSchedule = <Options>(
  given: Omit<Schedule<Options>, 'kind' | 'apiVersion' | 'configSchema'> &
    Partial<Pick<Schedule, 'configSchema'>>,
): Schedule =>
  ({ kind: 'schedule', apiVersion: 1, configSchema: noOptions, ...given, ...madeHere }) as Schedule

/** The built-in schedules: linear and cosine decay to zero as transformers' schedulers. */
export const schedules: readonly Schedule[] = [
  defineSchedule({ name: 'constant', factor: () => 1 }),
  defineSchedule({ name: 'linear', factor: ({ share }) => 1 - share }),
  defineSchedule({ name: 'cosine', factor: ({ share }) => 0.5 * (1 + Math.cos(Math.PI * share)) }),
]

/** A schedule that a config names, with its options checked, and the numbers that go with each. */
export interface ChosenSchedule {
  schedule: Schedule
  options: Record<string, unknown>
}
export interface RateOptions {
  learning_rate: number
  warmup_steps: number
}

/** The learning rate of step t = 1, 2, … of `total`: linear warm-up, then as the schedule says. Throws BAD_SCHEDULE for a factor that is none. */
export function learningRate(
  { learning_rate, warmup_steps }: RateOptions,
  { schedule, options }: ChosenSchedule,
  t: number,
  total: number,
): number {
  const done = t - 1
  if (done < warmup_steps) return (learning_rate * (done + 1)) / (warmup_steps + 1)
  const share = Math.min(1, (done - warmup_steps) / Math.max(1, total - warmup_steps))
  const factor = schedule.factor({ share, step: t, total }, options)
  if (Number.isFinite(factor) && factor >= 0) return learning_rate * factor
  throw new GraftError(
    'BAD_SCHEDULE',
    `Schedule ${schedule.name}: factor gave ${factor} for step ${t} of ${total}; expected a finite number, 0 or more. This is a fault of the schedule's package.`,
  )
}
