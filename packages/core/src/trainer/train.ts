import type { Registry } from '../container.js'
import { claimOutput } from './output-folder.js'
import type { TrainConfig } from '../config/config.js'
import { FolderLock } from '../files/folder-lock.js'
import { type RunInputs, readInputs } from './inputs.js'
import { type TrainFlags } from './output-folder.js'
import { type TrainHooks, type TrainResult } from './hooks.js'
import { Trainer } from './trainer.js'

/**
 * Trains an adapter as a config says.
 *
 * @throws what preparing throws, OUTPUT_EXISTS, OUTPUT_IN_USE, OUTPUT_TAKEN, NOT_FINITE, DISK_FULL.
 */
export async function train(
  config: TrainConfig,
  registry: Registry,
  hooks: TrainHooks = {},
  flags: TrainFlags = {},
): Promise<TrainResult> {
  if (config.device === 'cuda')
    hooks.onNotice?.('Computing with CUDA; device: cpu in the config keeps off the GPU.')
  const lock = flags.takeOver
    ? await FolderLock.wait(config.output, hooks.signal)
    : FolderLock.take(config.output)
  if (!lock) return unbegun
  try {
    const inputs = await readInputs(config, registry)
    try {
      claimOutput(config, flags)
      return await trained(config, inputs, hooks, flags, lock)
    } finally {
      inputs.close()
    }
  } finally {
    lock.release()
  }
}

/** What a run comes to that was stopped while it waited for its folder. */
const unbegun: TrainResult = {
  finished: false,
  step: 0,
  adapter: '',
  before: {},
  after: {},
  kept: 0,
  stoppedEarly: false,
  diverged: false,
}

async function trained(
  config: TrainConfig,
  inputs: RunInputs,
  hooks: TrainHooks,
  flags: TrainFlags,
  lock: FolderLock,
): Promise<TrainResult> {
  const trainer = await Trainer.open(config, inputs, hooks, flags, lock)
  let status: 'finished' | 'stopped' | 'failed' = 'failed'
  try {
    const result = await trainer.run()
    status = result.finished ? 'finished' : 'stopped'
    return result
  } finally {
    await trainer.close(status)
  }
}
