import { type ArchitectureContext, type Builder, normal, type Value } from '@graft-peft/core'

/** Where a module starts from that the checkpoint doesn't have: transformers' initializer_range. */
const freshHead = normal(0.02)

/** A module's place in the model: what is made here carries its path, and parameters are named by it. */
export class Scope {
  constructor(
    private readonly c: Pick<ArchitectureContext, 'g' | 'weights'>,
    readonly path = '',
  ) {}
  get g(): Builder {
    return this.c.g
  }
  in(name: string | number): Scope {
    return new Scope(this.c, this.join(`${name}`))
  }
  private join(name: string): string {
    return name === '' ? this.path : this.path === '' ? name : `${this.path}.${name}`
  }

  /** Runs `build` with this path on the nodes it makes. */
  run<T>(build: () => T): T {
    return this.g.graph.within(this.path, build)
  }

  has(parameter: string): boolean {
    return this.c.weights.has(this.join(parameter))
  }
  parameter(name: string, shape: readonly number[]): Value {
    return this.run(() => this.c.weights.get(this.join(name), shape))
  }
  /** A matrix [1, out, into] that is no module's weight, so that no adapter takes it for a linear layer: the parameter itself, or its part `part`. */
  matrix(
    name: string,
    [out, into]: readonly [number, number],
    stack?: { count: number; part: number },
  ): Value {
    const shape = stack ? [stack.count, out, into] : [out, into]
    const options = stack ? { part: stack.part } : { as: [1, out, into] }
    return this.run(() => this.c.weights.get(this.join(name), shape, options))
  }
  /** Entry `part` along the first axis: [1, …]. */
  part(name: string, shape: readonly number[], part: number): Value {
    return this.run(() => this.c.weights.get(this.join(name), shape, { part }))
  }
  /** A parameter that a checkpoint without this head doesn't have. */
  private fresh(name: string, shape: readonly number[]): Value {
    return this.run(() => this.c.weights.get(this.join(name), shape, { init: freshHead }))
  }

  /** nn.Linear: x·Wᵀ + b, W [out, into]. */
  linear(name: string, x: Value, into: number, out: number, bias = true): Value {
    const at = this.in(name)
    const weight = at.parameter('weight', [out, into])
    const b = bias ? at.parameter('bias', [out]) : undefined
    return at.run(() => withBias(this.g, this.g.linear(x, weight), b))
  }
  /** Linear layers of one width, whose parameters checkpoints may hold as one, under the name `fused`. */
  linears(
    names: readonly string[],
    fused: string,
    x: Value,
    into: number,
    out: number,
    bias = false,
  ): Value[] {
    if (!this.has(`${fused}.weight`)) return names.map((name) => this.linear(name, x, into, out, bias))
    const { weights } = this.c
    const part = (name: string, i: number, shape: readonly [number, ...number[]]) => {
      const whole = [names.length * shape[0], ...shape.slice(1)]
      return this.run(() => weights.get(`${this.in(fused).path}.${name}`, whole, { part: i, as: shape }))
    }
    return names.map((name, i) => {
      const [weight, b] = [part('weight', i, [out, into]), bias ? part('bias', i, [out]) : undefined]
      return this.in(name).run(() => withBias(this.g, this.g.linear(x, weight), b))
    })
  }
  /** A linear layer of a task's head: new where the checkpoint has none. */
  head(name: string, x: Value, into: number, out: number, bias = true): Value {
    const at = this.in(name)
    const weight = at.fresh('weight', [out, into])
    const b = bias ? at.fresh('bias', [out]) : undefined
    return at.run(() => withBias(this.g, this.g.linear(x, weight), b))
  }
  /** transformers' Conv1D: x·W + b, W [into, out]. */
  conv1d(name: string, x: Value, into: number, out: number): Value {
    const at = this.in(name)
    const [weight, bias] = [at.parameter('weight', [into, out]), at.parameter('bias', [out])]
    return at.run(() => this.g.add(this.g.matMul(x, weight), bias))
  }
  embedding(name: string, ids: Value, rows: number, width: number): Value {
    const at = this.in(name)
    const table = at.parameter('weight', [rows, width])
    return at.run(() => this.g.gather(table, ids))
  }
  layerNorm(name: string, x: Value, width: number, epsilon: number, bias = true): Value {
    const at = this.in(name)
    const parameters = [at.parameter('weight', [width]), ...(bias ? [at.parameter('bias', [width])] : [])]
    return at.run(() =>
      this.g.op('LayerNormalization', [x, ...parameters], { axis: -1, epsilon, stash_type: 1 }),
    )
  }
  /** Root-mean-square norm; with `unitOffset` scaled by 1 + w (Gemma). */
  rmsNorm(name: string, x: Value, width: number, epsilon: number, unitOffset = false): Value {
    const at = this.in(name)
    const weight = at.parameter('weight', [width])
    return at.run(() => {
      const scale = unitOffset ? this.g.add(weight, this.g.constant('float32', [1], [])) : weight
      return this.g.op('SimplifiedLayerNormalization', [x, scale], { axis: -1, epsilon, stash_type: 1 })
    })
  }
  /** nn.Conv2d without padding, stride as wide as the kernel: an image cut into patches. */
  patches(
    name: string,
    image: Value,
    [out, into, size]: readonly [number, number, number],
    bias: boolean,
  ): Value {
    const at = this.in(name)
    const parameters = [
      at.parameter('weight', [out, into, size, size]),
      ...(bias ? [at.parameter('bias', [out])] : []),
    ]
    const [kernel_shape, strides, pads] = [
      [size, size],
      [size, size],
      [0, 0, 0, 0],
    ]
    return at.run(() =>
      this.g.op('Conv', [image, ...parameters], { kernel_shape, strides, pads, dilations: [1, 1], group: 1 }),
    )
  }
}

const withBias = (g: Builder, y: Value, bias: Value | undefined): Value => (bias ? g.add(y, bias) : y)
