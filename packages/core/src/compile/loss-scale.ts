import type { Builder, Value } from '@graft-peft/onnx'

/** The state of loss scaling: the scale, and how many steps have gone by since it changed. */
export const scalingName = 'scaling'
const first = 2 ** 16
export const initialScaling = (): Float32Array => Float32Array.of(first, 0)
/** torch.amp.GradScaler's numbers. */
const growth = { factor: 2, after: 2000, limit: 2 ** 24 }
const backoff = 0.5

/**
 * Dynamic loss scaling (Micikevicius et al., 2018, arXiv 1710.03740, 3.2), inside the step: gradients are taken of the scaled loss, which keeps small
 * ones from vanishing in float16, and divided by the scale in float32. A step whose gradient overflows changes nothing and halves the scale;
 * after 2,000 steps that don't, it doubles.
 */
export class LossScale {
  /** float32 scalar */
  readonly scale: Value
  /** the state as it comes */
  readonly held: Value
  private readonly steps: Value

  constructor(private readonly g: Builder) {
    this.held = g.graph.addInput(scalingName, 'float32', [2])
    this.scale = g.squeeze(g.slice(this.held, 0, 1, 0), [0])
    this.steps = g.squeeze(g.slice(this.held, 1, 2, 0), [0])
  }

  apply = (loss: Value): Value => this.g.mul(loss, this.scale)
  remove = (gradient: Value): Value => this.g.div(gradient, this.scale)
  /** Whether nothing overflowed: a norm that is infinite or not a number is not below float32's greatest. */
  isFinite = (norm: Value): Value => this.g.lessOrEqual(norm, this.g.scalar(3.4028234663852886e38))

  /** The state after an update that was finite, or wasn't. */
  next(finite: Value): Value {
    const { g, scale } = this
    const steps = g.add(this.steps, g.scalar(1))
    const isLong = g.op('GreaterOrEqual', [steps, g.scalar(growth.after)])
    const grown = g.where(isLong, g.op('Min', [g.scale(scale, growth.factor), g.scalar(growth.limit)]), scale)
    const counted = g.where(isLong, g.scalar(0), steps)
    const pair = (a: Value, b: Value) => g.concat([g.unsqueeze(a, [0]), g.unsqueeze(b, [0])], 0)
    return g.where(finite, pair(grown, counted), pair(g.scale(scale, backoff), g.scalar(0)))
  }
}
