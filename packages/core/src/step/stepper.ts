import type { FrozenCut, Value } from '@graft-peft/onnx'
import type { Forecast } from '../compile/forecast.js'
import { next } from '../compile/step.js'
import { GraftError } from '../errors.js'
import type { Example } from '../data/example.js'
import { collectGarbage } from '../runtime/garbage.js'
import { Session, type SessionOptions } from '../runtime/session.js'
import { type Tensors, vectorTensors } from '../runtime/tensor.js'
import type { Carry } from '../runtime/worker.js'
import { frozenFeeds } from './frozen-prefix.js'
import { stackFeeds } from './loop.js'
import { isBuiltIn } from '../optimizer/table.js'
import type { Step } from './step.js'

export interface StepResult {
  /** mean over supervised rows, and the method's penalty where it has one */
  loss: number
  /** the method's part of the loss */
  penalty?: number
  gradientNorm: number
  /** what the loss was scaled by, in float16 */
  lossScale?: number
  tokens: number
}
/** A step to take. */
export interface WantedStep {
  /** 1, 2, … */
  t: number
  rate: number
  batches: readonly (readonly Example[])[]
}
/** One run of the graph: a batch of step t. */
interface Run {
  t: number
  feeds: Tensors
  /** whether it ends its step */
  apply: boolean
  tokens: number
  scalars: readonly number[]
}
interface Scalars {
  loss: number
  penalty?: number
  gradient_norm: number
  loss_scale?: number
}

const inverted = (names: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(names).map(([a, b]) => [b, a]))

/** Holds the compiled step and the flat state vectors it updates. */
export class Stepper {
  /** parameters and optimiser state by name, where they don't stay on the device */
  private vectors: Record<string, Float32Array>
  /** gradients of a step's runs, added up */
  private sum?: Float32Array

  private constructor(
    private readonly session: Session,
    private readonly plan: Step,
    readonly forecast: Forecast,
    start: Float32Array,
    private readonly frozen: readonly Value[],
    /** what a loop over the step is fed for each iteration, where it was opened as one */
    private readonly looped: readonly string[] | undefined,
    /** what of a run's outputs stays on the device for the next, where vectors do */
    private readonly carry: Carry | undefined,
  ) {
    this.vectors = plan.initialState(start)
  }

  /**
   * Compiles a step and opens a session for it, from the parameters `start` on. `freeze` is given the part of
   * the step that never changes, and prepares the examples' own share of it: they then carry it in `frozen`.
   */
  static async open(
    step: Step,
    start: Float32Array,
    options: SessionOptions,
    freeze?: (cut: FrozenCut) => Promise<void>,
  ): Promise<Stepper> {
    const graph = step.compile()
    const cut = freeze ? step.cutFrozen(graph) : undefined
    if (cut) await freeze?.(cut)
    cut?.below.clear()
    const forecast = step.forecast(graph)
    const { separate } = step.adapted.variables
    const carried = step.settings.loop && !separate ? step.carried() : undefined
    const looped = carried && graph.inputs.map((v) => v.name).filter((name) => !(name in carried))
    const carry =
      options.device === 'webgpu' && !separate
        ? { key: 'state', inputs: inverted(step.carried()) }
        : undefined
    const session = carried
      ? await Session.openLoop(graph, carried, options)
      : await Session.open(graph, { ...options, resident: Object.keys(carry?.inputs ?? {}) })
    // The step lives on in the session; its nodes would take tens of megabytes here.
    graph.clear()
    collectGarbage('major')
    const stepper = new Stepper(session, step, forecast, start, cut?.values ?? [], looped, carry)
    await stepper.write(stepper.vectors)
    return stepper
  }

  /** Parameters and optimiser state by name, as they are now. */
  async read(): Promise<Record<string, Float32Array>> {
    if (!this.carry) return this.vectors
    const { gradient_sum, ...held } = await this.session.read(this.carry.key)
    return Object.fromEntries(Object.entries(held).map(([name, t]) => [name, t.data as Float32Array]))
  }
  /** Makes these the parameters and the optimiser's state. */
  async write(vectors: Record<string, Float32Array>): Promise<void> {
    this.vectors = this.carry ? {} : vectors
    if (!this.carry) return
    const sum: Record<string, Float32Array> = this.plan.settings.accumulate
      ? { gradient_sum: new Float32Array(this.plan.adapted.variables.total) }
      : {}
    await this.session.seed(this.carry.key, vectorTensors({ ...vectors, ...sum }))
  }

  /** One optimiser step t = 1, 2, … over one or more batches. The mean is over all their supervised rows together. */
  async step(t: number, rate: number, batches: readonly (readonly Example[])[]): Promise<StepResult> {
    const [result] = await this.steps([{ t, rate, batches }])
    return result
  }

  /** Several steps, in one run of the session where it was opened for that. */
  async steps(wanted: readonly WantedStep[]): Promise<StepResult[]> {
    if (this.plan.settings.accumulate) this.sum = new Float32Array(this.plan.adapted.variables.total)
    const runs = wanted.flatMap((step) => this.runsOf(step))
    // The vectors before these are garbage here too.
    collectGarbage('minor')
    const outputs = this.looped ? await this.runLooped(runs) : await this.runOneByOne(runs)
    return wanted.map(({ t }) => {
      const result: StepResult = { loss: 0, gradientNorm: 0, tokens: 0 }
      runs.forEach((run, k) => {
        if (run.t !== t) return
        const { loss, penalty, gradient_norm, loss_scale } = outputs[k]
        result.loss += loss
        if (penalty !== undefined) result.penalty = (result.penalty ?? 0) + penalty
        result.gradientNorm = gradient_norm
        if (loss_scale !== undefined) result.lossScale = loss_scale
        result.tokens += run.tokens
      })
      if (
        !Number.isFinite(result.loss) ||
        !Number.isFinite(result.gradientNorm) ||
        (result.lossScale ?? 1) < leastScale
      )
        throw notFinite(t, result)
      return result
    })
  }

  /** A step's runs of the graph: one per batch, the last of which updates. */
  private runsOf({ t, rate, batches }: WantedStep): Run[] {
    const parts = batches.map((examples) => this.plan.part(examples))
    const count = parts.reduce((sum, p) => sum + p.supervision.count, 0)
    return parts.map((part, k) => {
      const apply = k === parts.length - 1
      const adding: Tensors = this.sum
        ? { apply: { dtype: 'bool' as const, shape: [], data: Uint8Array.of(Number(apply)) } }
        : {}
      const feeds = {
        ...this.plan.feeds(part, { t, rate, k, parts: parts.length, count }),
        ...frozenFeeds(this.frozen, part.batch),
        ...adding,
      }
      const tokens = part.examples.reduce((n, e) => n + e.ids.length + (e.decoderIds?.length ?? 0), 0)
      return { t, feeds, apply, tokens, scalars: this.plan.settings.optimizer.scalars(t, rate) }
    })
  }

  /**
   * Gives back what its session holds. A later step opens it again, where parameters and optimiser state lie
   * here and not on a device.
   */
  close(): Promise<void> {
    return this.session.close()
  }

  private async runOneByOne(runs: readonly Run[]): Promise<Scalars[]> {
    const found: Scalars[] = []
    for (const run of runs)
      found.push(
        scalarsAt(
          this.plan.adapted.variables.separate ? await this.runApart(run) : await this.run(run.feeds),
          0,
        ),
      )
    return found
  }
  private async runLooped(runs: readonly Run[]): Promise<Scalars[]> {
    const outputs = await this.run(
      stackFeeds(
        runs.map((r) => r.feeds),
        this.looped ?? [],
      ),
    )
    return runs.map((_, k) => scalarsAt(outputs, k))
  }

  /** Runs the graph; the state vectors move to the session's thread and their successors come back. */
  private async run(feeds: Tensors): Promise<Tensors> {
    if (this.carry) return this.session.run(feeds, { carry: this.carry })
    const state = vectorTensors({ ...this.vectors, ...(this.sum ? { gradient_sum: this.sum } : {}) })
    const outputs = await this.session.run({ ...feeds, ...state }, { give: Object.keys(state) })
    this.vectors = Object.fromEntries(
      Object.keys(this.vectors).map((name) => [name, outputs[next(name)].data as Float32Array]),
    )
    if (this.sum) this.sum = outputs[next('gradient_sum')].data as Float32Array
    return outputs
  }

  /** The same where the optimiser's step is taken beside the graph: the vectors themselves come back. */
  private async runApart({ feeds, scalars, apply }: Run): Promise<Tensors> {
    const { optimizer, clip } = this.plan.settings
    if (!isBuiltIn(optimizer)) throw new Error('only a built-in optimiser steps beside the graph')
    const variables = this.plan.adapted.variables.list.map(({ offset, size, shape, lrScale = 1 }) => ({
      offset,
      size,
      shape,
      rateScale: lrScale,
    }))
    const vectors = { ...this.vectors, ...(this.sum ? { gradient_sum: this.sum } : {}) }
    const outputs = await this.session.update(feeds, {
      vectors,
      variables,
      optimizer: optimizer.options,
      scalars,
      clip,
      apply,
    })
    this.vectors = Object.fromEntries(
      Object.keys(this.vectors).map((name) => [name, outputs[name].data as Float32Array]),
    )
    this.sum = outputs.gradient_sum?.data as Float32Array | undefined
    return outputs
  }
}

const scalarsAt = ({ loss, penalty, gradient_norm, loss_scale }: Tensors, k: number): Scalars => ({
  loss: Number(loss.data[k]),
  penalty: penalty && Number(penalty.data[k]),
  gradient_norm: Number(gradient_norm.data[k]),
  loss_scale: loss_scale && Number(loss_scale.data[k]),
})
/** A scale this small still overflows only where the numbers themselves do. */
const leastScale = 2 ** -10

const notFinite = (t: number, { loss, gradientNorm, lossScale }: StepResult) =>
  new GraftError(
    'NOT_FINITE',
    `Step ${t}: the loss is ${loss}, the gradient's norm ${gradientNorm}. Training stopped; the checkpoint before it is kept. Lower training.learning_rate, or set training.max_grad_norm, and start again.${lossScale === undefined ? '' : ' float16 ends at 65,504: precision: bfloat16 or float32 go further.'}`,
  )
