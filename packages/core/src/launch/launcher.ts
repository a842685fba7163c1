import { madeHere } from '../copy.js'

/** One run to be done, on this machine or another. Its folder holds what is to be done and receives what came of it. */
export interface Job {
  /** unique, and the same for the same work: a job done once isn't done again */
  id: string
  /** absolute path, the same on every machine that shares the folder */
  folder: string
  /** threads that the run computes with */
  threads: number
  /** bytes that the run takes at its largest, as predicted */
  memory: number
}
/** How far a job is: optimiser steps done, of how many, and the loss of the last. */
export interface JobProgress {
  step: number
  total: number
  loss: number
}
/** Why a job's process ended. */
export interface JobEnd {
  /** the job left a result in its folder */
  ok: boolean
  /** what happened, where it didn't */
  reason?: string
}
/** What a launcher gets: how to do a job here, and whom to tell. */
export interface LaunchContext {
  /** Does a job in a process of its own on this machine. A job whose folder has a checkpoint goes on from it. */
  execute(job: Job, signal: AbortSignal, onProgress: (progress: JobProgress) => void): Promise<JobEnd>
  onProgress(job: Job, progress: JobProgress): void
  onEnd(job: Job, end: JobEnd): void
  onNotice(text: string): void
  /** aborted when the user stops the whole */
  signal: AbortSignal
}
/** Gets jobs done: here, or by workers elsewhere. */
export interface Launcher<Options = Record<string, unknown>> {
  kind: 'launcher'
  apiVersion: 1
  name: string
  summary: string
  /** JSON Schema of the options beside the name */
  configSchema: object
  /** Settles when every job has ended; each end is reported once. */
  launch(jobs: readonly Job[], options: Options, context: LaunchContext): Promise<void>
}

/** Gives a launcher its types and its kind; a package default-exports the result. */
export const defineLauncher = <Options>(launcher: Omit<Launcher<Options>, 'kind' | 'apiVersion'>): Launcher =>
  ({ kind: 'launcher', apiVersion: 1, ...launcher, ...madeHere }) as Launcher
