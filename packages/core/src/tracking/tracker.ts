import { madeHere } from '../copy.js'

/** What a tracker is told when a run begins. */
export interface TrackedRun {
  /** the run's name: the last part of its folder */
  name: string
  /** the run's own folder */
  folder: string
  /** what was asked for, in the config's own terms */
  config: Record<string, unknown>
  /** the last step of the checkpoint that the run goes on from; 0 for a fresh one */
  resumedAt: number
  /** says something to the user, such as that a server is away */
  notice(text: string): void
}
/** A run being followed. */
export interface Tracking {
  /** Numbers of one step, by names such as `train/loss` and `validation/accuracy`. Must not block: what takes long is sent later. */
  scalars(step: number, values: Readonly<Record<string, number>>): void
  /** The run is over: everything told is written or sent when the promise settles. */
  finish(status: 'finished' | 'stopped' | 'failed'): Promise<void>
}
/** Follows training runs: writes files for a viewer, or sends numbers to a server. */
export interface Tracker<Options = Record<string, unknown>> {
  kind: 'tracker'
  apiVersion: 1
  name: string
  summary: string
  /** JSON Schema of the options beside the name */
  configSchema: object
  /** Throws a GraftError where the run can't be followed (a server that doesn't answer). */
  open(run: TrackedRun, options: Options): Promise<Tracking>
}

/** Gives a tracker its types and its kind; a package default-exports the result. */
export const defineTracker = <Options>(tracker: Omit<Tracker<Options>, 'kind' | 'apiVersion'>): Tracker =>
  ({ kind: 'tracker', apiVersion: 1, ...tracker, ...madeHere }) as Tracker

/** A tracker that a config names, with its options checked. */
export interface ChosenTracker {
  tracker: Tracker
  options: Record<string, unknown>
}
