import { basename } from 'node:path'
import type { TrainConfig } from '../config/config.js'
import type { Tracking } from '../tracking/tracker.js'

/** All of a run's trackers as one. */
export class Followers {
  private constructor(private readonly trackings: readonly Tracking[]) {}

  /** Throws what a tracker throws that can't follow the run. */
  static async open(
    config: TrainConfig,
    resumedAt: number,
    notice: (text: string) => void,
  ): Promise<Followers> {
    const { method, methodOptions, trackers, output, model, seed, training } = config
    const run = {
      name: basename(output),
      folder: output,
      config: {
        model,
        method: method.name,
        ...prefixed('method', methodOptions),
        ...prefixed('training', training),
        seed,
      },
      resumedAt,
      notice,
    }
    const trackings: Tracking[] = []
    for (const { tracker, options } of trackers) trackings.push(await tracker.open(run, options))
    return new Followers(trackings)
  }

  scalars(step: number, group: string, values: Readonly<Record<string, number | undefined>>): void {
    const named = Object.entries(values).filter((pair): pair is [string, number] => Number.isFinite(pair[1]))
    const grouped = Object.fromEntries(named.map(([name, v]) => [`${group}/${name}`, v]))
    for (const tracking of this.trackings) tracking.scalars(step, grouped)
  }
  async finish(status: 'finished' | 'stopped' | 'failed'): Promise<void> {
    for (const tracking of this.trackings) await tracking.finish(status)
  }
}
const prefixed = (prefix: string, options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).map(([key, v]) => [`${prefix}.${key}`, v]))
