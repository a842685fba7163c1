import { StepPlan } from './step-plan.js'
import type { FrozenCut } from '@graft-peft/onnx'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { startOf } from '../adapter/continue.js'
import { digestOf } from '../data/batches.js'
import { type Dataset } from '../data/dataset.js'
import { learningRate } from '../optimizer/schedule.js'
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from './checkpoint.js'
import { beginning, judged, outcomeOf, type Progress } from './progress.js'
import { checkpointFile, type TrainFlags } from './output-folder.js'
import { Followers } from './followers.js'
import type { TrainConfig } from '../config/config.js'
import { FolderLock } from '../files/folder-lock.js'
import { type Evaluation, Evaluator } from '../step/evaluator.js'
import { Forward } from '../step/forward.js'
import { type CachedDataset, withFrozenPrefix } from '../step/frozen-prefix.js'
import { RunLog } from './log.js'
import { type RunInputs } from './inputs.js'
import { noticesBefore } from './notices.js'
import { type KeptRounding, roundedPlan, roundingNotice } from './rounding.js'
import { forecastRun, forwardOf, planRun } from './run.js'
import { saveTrained } from './save-trained.js'
import type { Step } from '../step/step.js'
import { Stepper, type StepResult, type WantedStep } from '../step/stepper.js'
import { type Phase, type TrainHooks, type TrainResult } from './hooks.js'

export class Trainer {
  private readonly log: RunLog
  private progress: Progress = beginning
  private readonly plan: StepPlan
  private followers?: Followers

  private constructor(
    private readonly config: TrainConfig,
    private readonly inputs: RunInputs,
    private readonly hooks: TrainHooks,
    private readonly step: Step,
    private readonly stepper: Stepper,
    private readonly evaluator: Evaluator,
    private readonly inTurns: boolean,
    private readonly lock: FolderLock,
    private readonly cached?: CachedDataset,
  ) {
    this.plan = new StepPlan(config, inputs)
    this.log = new RunLog(join(config.output, 'log.jsonl'))
  }

  static async open(
    config: TrainConfig,
    inputs: RunInputs,
    hooks: TrainHooks,
    flags: TrainFlags,
    lock: FolderLock,
  ): Promise<Trainer> {
    const started = performance.now()
    const { model, pad } = inputs
    const resumed = flags.resume
      ? loadCheckpoint(checkpointFile(config, 'last'), inputs.fingerprint)
      : undefined
    const planned = await planRun(config, inputs)
    const plan = await roundedPlan(planned, config, resumed !== undefined)
    const { step, session, rounding, evaluated, inTurns } = plan
    const { adapted } = step
    let cached: CachedDataset | undefined
    const freeze = async (cut: FrozenCut) => {
      const { train } = inputs
      const fed = { ...session, inputs: model.graph.inputs, pad, batch: evaluated }
      cached = await withFrozenPrefix(train, cut, fed, config.output, (done) =>
        hooks.onEvaluating?.({ part: 'frozen layers of train', done, total: train.length }),
      )
    }
    const pass = Forward.of(model, forwardOf(step), pad)
    const start = startOf(config.adapter, adapted, config.seed)
    const stepper = await Stepper.open(step, start, session, config.cache ? freeze : undefined)
    const evaluator = Evaluator.of(pass, evaluated, session)
    const trainer = new Trainer(
      config,
      cached ? { ...inputs, train: cached } : inputs,
      hooks,
      step,
      stepper,
      evaluator,
      inTurns,
      lock,
      cached,
    )
    try {
      const forecast = await forecastRun(plan, stepper.forecast, inputs, pass)
      if (resumed) await trainer.restore(resumed)
      await trainer.follow()
      if (rounding) trainer.tellRounding(rounding)
      for (const notice of noticesBefore(config, forecast, adapted.model)) hooks.onNotice?.(notice)
      const compileSeconds = (performance.now() - started) / 1000
      hooks.onStart?.({
        inputs,
        trainable: adapted.variables.total,
        resumedAt: trainer.progress.step,
        compileSeconds,
        forecast,
      })
      return trainer
    } catch (error) {
      await trainer.close('failed')
      throw error
    }
  }

  async run(): Promise<TrainResult> {
    const { totalSteps, validation, test } = this.inputs
    const before = this.progress.step === 0 ? await this.evaluateParts('before', { validation, test }) : {}
    if (this.progress.step === 0) await this.save('last')
    while (this.progress.step < totalSteps && !this.progress.stopped) {
      await this.advance(this.progress.step + 1)
      if (this.hooks.signal?.aborted) {
        await this.save('last')
        return { ...this.outcome(before, {}), finished: false, adapter: '' }
      }
    }
    await this.save('last')
    return this.finish(before)
  }

  private async follow(): Promise<void> {
    this.followers = await Followers.open(this.config, this.progress.step, (text) =>
      this.hooks.onNotice?.(text),
    )
  }
  async close(status: 'finished' | 'stopped' | 'failed'): Promise<void> {
    await Promise.all([this.stepper.close(), this.evaluator.close()])
    this.cached?.close()
    await this.followers?.finish(status)
  }

  private tellRounding(rounding: KeptRounding): void {
    this.hooks.onNotice?.(roundingNotice(rounding))
    const { errors, float32, smoothing } = rounding
    if (this.progress.step === 0)
      this.log.write({ step: 0, phase: 'rounding', errors, float32, smoothed: Object.keys(smoothing) })
  }

  /** Takes the next steps. */
  private async advance(first: number): Promise<void> {
    const started = performance.now()
    const { totalSteps, stepsPerEpoch } = this.inputs
    const { training, schedule } = this.config
    const wanted = await Promise.all(
      this.plan.group(first).map(async (t) => ({
        t,
        rate: learningRate(training, schedule, t, totalSteps),
        batches: await this.plan.batches(t),
      })),
    )
    const results = await this.stepper.steps(wanted)
    const seconds = (performance.now() - started) / 1000 / wanted.length
    // Within a run of several steps the parameters stay where they are.
    const ranks = await this.ranks()
    wanted.forEach((step, k) =>
      this.tell(step, results[k], seconds, k === wanted.length - 1 ? ranks : undefined),
    )
    const t = this.progress.step
    if (t % (training.eval_every ?? stepsPerEpoch) === 0 || t === totalSteps) await this.validate()
    if (t % training.save_every === 0) await this.save('last')
  }

  private tell(
    { t, rate, batches }: WantedStep,
    result: StepResult,
    seconds: number,
    ranks: Record<string, number> | undefined,
  ): void {
    this.lock.require()
    this.progress.step = t
    const { loss, penalty, gradientNorm: gradient_norm, lossScale: loss_scale, tokens } = result
    const memory_mb = Math.round(process.memoryUsage.rss() / 2 ** 20)
    this.log.write({
      step: t,
      loss,
      penalty,
      ranks,
      gradient_norm,
      loss_scale,
      learning_rate: rate,
      tokens,
      batch: digestOf(batches),
      seconds,
      memory_mb,
    })
    this.followers?.scalars(t, 'train', {
      loss,
      penalty,
      gradient_norm,
      loss_scale,
      learning_rate: rate,
      tokens_per_second: tokens / seconds,
    })
    this.hooks.onStep?.({
      ...result,
      ranks,
      step: t,
      total: this.inputs.totalSteps,
      learningRate: rate,
      seconds,
    })
  }

  private async ranks(): Promise<Record<string, number> | undefined> {
    const { adapter, variables } = this.step.adapted
    if (!adapter.ranks) return undefined
    const { parameters } = await this.stepper.read()
    return adapter.ranks((p) => variables.read(parameters, p))
  }

  private async validate(): Promise<void> {
    const { validation, metrics } = this.inputs
    if (validation.length === 0) return
    const found = await this.evaluate('validation', validation)
    const settled = this.step.adapted.adapter.settled?.(this.progress.step, this.inputs.totalSteps) ?? true
    const { progress, improved } = judged(this.progress, found, metrics[0], {
      settled,
      patience: this.config.training.early_stopping,
    })
    this.progress = progress
    this.report('during', 'validation', found, improved)
    if (improved) await this.save('best')
  }

  private async evaluateParts(
    phase: Phase,
    parts: Record<string, Dataset>,
  ): Promise<Record<string, Evaluation>> {
    const found: Record<string, Evaluation> = {}
    for (const [part, examples] of Object.entries(parts)) {
      if (examples.length === 0) continue
      found[part] = await this.evaluate(part, examples)
      this.report(phase, part, found[part], false)
    }
    return found
  }
  private async evaluate(part: string, data: Dataset): Promise<Evaluation> {
    const { metrics, labels } = this.inputs
    const { parameters } = await this.stepper.read()
    const onProgress = (done: number) => this.hooks.onEvaluating?.({ part, done, total: data.length })
    if (this.inTurns) await this.stepper.close()
    try {
      return await this.evaluator.evaluate(data, new Float32Array(parameters), metrics, labels, {
        onProgress,
      })
    } finally {
      if (this.inTurns) await this.evaluator.close()
    }
  }
  private report(phase: Phase, part: string, found: Evaluation, improved: boolean): void {
    this.log.write({ step: this.progress.step, phase, part, ...found })
    this.followers?.scalars(this.progress.step, phase === 'during' ? part : `${part} ${phase}`, found)
    this.hooks.onEvaluation?.({ values: found, phase, step: this.progress.step, part, improved })
  }

  /** Writes the adapter from the best checkpoint where there was validation, else from the last, and evaluates it. */
  private async finish(before: Record<string, Evaluation>): Promise<TrainResult> {
    const { validation, test } = this.inputs
    if (existsSync(checkpointFile(this.config, 'best')))
      await this.stepper.write(
        loadCheckpoint(checkpointFile(this.config, 'best'), this.inputs.fingerprint).vectors,
      )
    const { parameters } = await this.stepper.read()
    this.lock.require()
    const adapter = await saveTrained(this.config, this.inputs, this.step.attaching, parameters)
    const after = await this.evaluateParts('after', { validation, test })
    return { ...this.outcome(before, after), finished: true, adapter }
  }

  /** How the run went, a resumed one's first part from its log. */
  private outcome(
    before: Record<string, Evaluation>,
    after: Record<string, Evaluation>,
  ): Omit<TrainResult, 'finished' | 'adapter'> {
    return outcomeOf(this.progress, this.log.entries(), this.inputs.totalSteps, { before, after })
  }

  private async save(name: 'last' | 'best'): Promise<void> {
    this.lock.require()
    saveCheckpoint(checkpointFile(this.config, name), {
      progress: this.progress,
      vectors: await this.stepper.read(),
      fingerprint: this.inputs.fingerprint,
    })
  }
  private async restore({ progress, vectors }: Checkpoint): Promise<void> {
    this.progress = progress
    await this.stepper.write(vectors)
    // The first evaluation is done again where no step followed it.
    this.log.truncateAfter(progress.step === 0 ? -1 : progress.step)
  }
}
