import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError, writeAtomically } from '@graft-peft/core'
import { type Registry, type TrainConfig } from '@graft-peft/core/app'
import {
  EpochBatches,
  planRun,
  type RunInputs,
  readInputs,
  readJson,
  shown,
  Stepper,
  take,
} from '@graft-peft/core/inside'
import type { Budget } from './comparison.js'

/** steps timed to know how many fit into minutes, after two that warm up */
const timed = 6

/**
 * How many steps a run may take; null for the config's own epochs. Tokens are counted in the order in which training will see
 * them; minutes become steps once, by timing some, and are written down, so that a resumed run ends where it would have.
 */
export async function stepsWithin(
  budget: Budget,
  config: TrainConfig,
  folder: string,
  registry: Registry,
): Promise<number | null> {
  if (budget.steps !== undefined) return budget.steps
  if (budget.tokens === undefined && budget.minutes === undefined) return config.training.max_steps
  const file = join(folder, 'steps.json')
  if (existsSync(file)) return stepsIn(file)
  const inputs = await readInputs(config, registry)
  try {
    const steps =
      budget.tokens !== undefined
        ? stepsForTokens(budget.tokens, config, inputs)
        : Math.floor(((budget.minutes as number) * 60) / (await secondsPerStep(config, inputs)))
    writeAtomically(file, String(Math.max(1, steps)))
    return Math.max(1, steps)
  } finally {
    inputs.close()
  }
}

function stepsIn(file: string): number {
  const steps = readJson(file, 'BAD_RUN')
  if (Number.isSafeInteger(steps) && (steps as number) > 0) return steps as number
  throw new GraftError(
    'BAD_RUN',
    `${file}: should be a number of steps, got ${shown(steps)}. Remove the file.`,
  )
}

function stepsForTokens(
  tokens: number,
  { training: { batch_size, gradient_accumulation }, seed }: TrainConfig,
  { train, stepsPerEpoch }: RunInputs,
): number {
  let seen = 0
  for (let step = 0; ; step++) {
    const batches = new EpochBatches(train, batch_size, seed, Math.floor(step / stepsPerEpoch))
    const first = (step % stepsPerEpoch) * gradient_accumulation
    for (let k = first; k < Math.min(first + gradient_accumulation, batches.count); k++)
      seen += batches.batch(k).reduce((sum, i) => sum + train.size(i), 0)
    if (seen > tokens || seen === 0) return step
  }
}

async function secondsPerStep(config: TrainConfig, inputs: RunInputs): Promise<number> {
  const { step, session } = await planRun(config, inputs)
  const start = step.adapted.variables.initial(config.seed)
  const stepper = await Stepper.open(step, start, session)
  try {
    const batches = new EpochBatches(inputs.train, config.training.batch_size, config.seed, 0)
    const seconds: number[] = []
    for (let t = 0; t < timed + 2; t++) {
      const examples = await take(inputs.train, batches.batch(t % batches.count))
      const started = performance.now()
      await stepper.step(t + 1, 0, new Array(config.training.gradient_accumulation).fill(examples))
      seconds.push((performance.now() - started) / 1000)
    }
    return seconds.slice(2).reduce((a, b) => a + b, 0) / timed
  } finally {
    await stepper.close()
  }
}
