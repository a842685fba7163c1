import type { TrainConfig } from '../config/config.js'
import { EpochBatches } from '../data/batches.js'
import { take } from '../data/dataset.js'
import type { Example } from '../data/example.js'
import type { RunInputs } from './inputs.js'
import { stepsPerRun } from './run.js'

/** Which steps are one run of the session, and which examples each sees. */
export class StepPlan {
  private epoch?: EpochBatches

  constructor(
    private readonly config: TrainConfig,
    private readonly inputs: RunInputs,
  ) {}

  /** The steps from t on that are one run: none of them but the last ends in an evaluation or a checkpoint. */
  group(t: number): number[] {
    const { totalSteps, stepsPerEpoch } = this.inputs
    const { eval_every, save_every } = this.config.training
    const ends = (step: number) =>
      step % (eval_every ?? stepsPerEpoch) === 0 || step % save_every === 0 || step === totalSteps
    const steps = [t]
    while (steps.length < stepsPerRun(this.config) && !ends(steps[steps.length - 1]))
      steps.push(t + steps.length)
    return steps
  }

  /** The batches of step t: a function of the seed and t, so a resumed run sees what an uninterrupted one does. */
  batches(t: number): Promise<Example[][]> {
    const { stepsPerEpoch, train } = this.inputs
    const { batch_size, gradient_accumulation } = this.config.training
    const index = Math.floor((t - 1) / stepsPerEpoch)
    if (this.epoch?.epoch !== index) this.epoch = new EpochBatches(train, batch_size, this.config.seed, index)
    const epoch = this.epoch
    const first = ((t - 1) % stepsPerEpoch) * gradient_accumulation
    const numbers = Array.from(
      { length: Math.min(gradient_accumulation, epoch.count - first) },
      (_, k) => first + k,
    )
    return Promise.all(numbers.map((k) => take(train, epoch.batch(k))))
  }
}
