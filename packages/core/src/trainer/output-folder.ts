import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError } from '../errors.js'
import type { TrainConfig } from '../config/config.js'
import { roundingFile } from './rounding.js'

export const checkpointFile = ({ output }: TrainConfig, name: 'last' | 'best'): string =>
  join(output, 'checkpoints', `${name}.safetensors`)

/**
 * Makes a run's folder ready for it. Throws OUTPUT_EXISTS for one that holds a run, unless that is to be
 * continued or replaced.
 */
export function claimOutput(config: TrainConfig, { resume, overwrite }: TrainFlags): void {
  const { output } = config
  if (overwrite)
    for (const part of ['adapter', 'checkpoints', 'log.jsonl', roundingFile])
      rmSync(join(output, part), { recursive: true, force: true })
  if (!resume && existsSync(checkpointFile(config, 'last')))
    throw new GraftError(
      'OUTPUT_EXISTS',
      `${output} already holds a run. Continue it with --resume, replace it with --overwrite, or choose another output.`,
    )
  if (!resume) rmSync(join(output, 'log.jsonl'), { force: true })
}

/** What to do where the output folder holds a run already. */
export interface TrainFlags {
  resume?: boolean
  overwrite?: boolean
  /**
   * wait for whoever works in the output folder, and take it over from one that shows no life, instead of
   * refusing it
   */
  takeOver?: boolean
}
