import { float32, GraftError, type OptimizerKind, type OptimizerNumbers, Random } from '@graft-peft/core'
import { checkOptimizer, Session } from '@graft-peft/core/inside'
import { Builder, Graph } from '@graft-peft/onnx'
import { fail } from './cases.js'
import { type Framework } from './method.js'

/** What an optimiser is tested under. */
export interface OptimizerCase {
  options?: Readonly<Record<string, unknown>>
  /** training.weight_decay and its kin, where they aren't the defaults */
  numbers?: Partial<OptimizerNumbers>
  /** a rate that this optimiser gets along with; 0.01 when left out */
  rate?: number
  /** One step t = 1, 2, … in plain numbers, as the paper has it: the next parameters; state is the author's to keep, from {} on. */
  reference?(step: {
    t: number
    rate: number
    parameters: readonly number[]
    gradient: readonly number[]
    state: Record<string, number[]>
  }): number[]
}
interface OptimizerCheck {
  name: string
  run(kind: OptimizerKind, test: OptimizerCase): Promise<void>
}
const defaults: OptimizerNumbers = { weight_decay: 0, betas: [0.9, 0.999], epsilon: 1e-8, momentum: 0 }
const made = (kind: OptimizerKind, { options = {}, numbers = {} }: OptimizerCase) =>
  checkOptimizer(kind.name, kind.create({ ...defaults, ...numbers }, { ...options }))

interface Bowl {
  parameters: Float32Array
  state: Record<string, Float32Array>
}
const target = (i: number): number => ((i % 5) - 2) / 2
const steepness = (i: number): number => 0.5 + (i % 3)
/** Slope of Σ a·(p − c)²/2. */
const slopeOf = (p: Float32Array): Float32Array => p.map((v, i) => steepness(i) * (v - target(i)))
const heightOf = (p: Float32Array): number =>
  p.reduce((s, v, i) => s + (steepness(i) * (v - target(i)) ** 2) / 2, 0)
const startOf = (size: number): Bowl => {
  const random = new Random(2, 'bowl')
  return { parameters: Float32Array.from({ length: size }, () => 2 * random.normal()), state: {} }
}

/** Takes steps `from` … `to` through the optimiser's own graph. */
async function descend(
  kind: OptimizerKind,
  test: OptimizerCase,
  start: Bowl,
  [from, to]: readonly [number, number],
  {
    gradient = slopeOf,
    rateScale,
  }: { gradient?: (p: Float32Array) => Float32Array; rateScale?: number } = {},
): Promise<Bowl[]> {
  const optimizer = made(kind, test)
  const g = new Builder(new Graph())
  const size = start.parameters.length
  const vector = (name: string) => g.graph.addInput(name, 'float32', [size])
  const count = optimizer.scalars(1, 0.1).length
  const fed = g.graph.addInput('scalars', 'float32', [count])
  const updated = optimizer.update(g, {
    parameters: vector('parameters'),
    gradient: vector('gradient'),
    state: optimizer.state.map(vector),
    scalars: Array.from({ length: count }, (_, i) => g.slice(fed, i, i + 1, 0)),
    rateScale: rateScale === undefined ? undefined : g.expand(g.scalar(rateScale), [size]),
  })
  const outputs = [updated.parameters, ...updated.state]
  if (outputs.length !== optimizer.state.length + 1)
    fail(`update returns ${updated.state.length} state vectors; state names ${optimizer.state.length}.`)
  outputs.forEach((v, i) =>
    g.graph.outputs.push(g.graph.addNode('Identity', [v], {}, { outputs: [`next_${i}`] }).outputs[0]!),
  )
  g.graph.dropUnusedInputs()
  const session = await Session.open(g.graph)
  const path: Bowl[] = []
  try {
    let { parameters, state } = start
    for (let t = from; t <= to; t++) {
      const zero = (name: string) => state[name] ?? new Float32Array(size)
      const found = await session.run({
        parameters: float32(parameters.slice()),
        gradient: float32(gradient(parameters)),
        scalars: float32(optimizer.scalars(t, test.rate ?? 0.01)),
        ...Object.fromEntries(optimizer.state.map((name) => [name, float32(zero(name).slice())])),
      })
      const next = outputs.map((_, i) => Float32Array.from(found[`next_${i}`].data as Float32Array))
      parameters = next[0]
      state = Object.fromEntries(optimizer.state.map((name, i) => [name, next[i + 1]]))
      path.push({ parameters, state })
    }
  } finally {
    await session.close()
  }
  return path
}
const furthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0)

const descends: OptimizerCheck = {
  name: 'it goes down a bowl, whatever its size',
  async run(kind, test) {
    for (const size of [1, 7]) {
      const start = startOf(size)
      const path = await descend(kind, test, start, [1, 40])
      const { parameters } = path[path.length - 1]
      if (parameters.length !== size) fail(`${size} parameters become ${parameters.length}.`)
      if (parameters.some((v) => !Number.isFinite(v))) fail(`after 40 steps parameters are ${parameters}.`)
      if (!(heightOf(parameters) < heightOf(start.parameters)))
        fail(
          `in 40 steps at rate ${test.rate ?? 0.01} the loss goes from ${heightOf(start.parameters).toFixed(4)} to ${heightOf(parameters).toFixed(4)}: is the sign of the step right?`,
        )
    }
  },
}
const reproduces: OptimizerCheck = {
  name: 'it equals its reference in plain numbers',
  async run(kind, test) {
    if (!test.reference) return
    const start = startOf(7)
    const path = await descend(kind, test, start, [1, 6])
    const state: Record<string, number[]> = {}
    let parameters = Array.from(start.parameters)
    path.forEach((found, i) => {
      const gradient = Array.from(slopeOf(Float32Array.from(parameters)))
      parameters = test.reference!({ t: i + 1, rate: test.rate ?? 0.01, parameters, gradient, state })
      const off = furthest(found.parameters, parameters)
      if (!(off < 1e-5 * Math.max(1, ...parameters.map(Math.abs))))
        fail(
          `after step ${i + 1} a parameter is ${off.toExponential(1)} off the reference: ${found.parameters[0]} where it is ${parameters[0]}.`,
        )
    })
  },
}
const resumes: OptimizerCheck = {
  name: 'stopping and going on gives what an unbroken run gives',
  async run(kind, test) {
    const whole = await descend(kind, test, startOf(7), [1, 8])
    const second = await descend(kind, test, whole[3], [5, 8])
    if (furthest(whole[7].parameters, second[3].parameters) > 0)
      fail('4 + 4 steps differ from 8: something is kept outside the state vectors and scalars(t, rate).')
  },
}
const rests: OptimizerCheck = {
  name: 'no gradient gives finite numbers, and a rate of zero no step',
  async run(kind, test) {
    const none = (p: Float32Array) => new Float32Array(p.length)
    const path = await descend(kind, test, startOf(3), [1, 3], { gradient: none })
    if (path.some(({ parameters }) => parameters.some((v) => !Number.isFinite(v))))
      fail('without a gradient parameters are not finite: divide by a root plus epsilon.')
    const start = startOf(3)
    const still = await descend(kind, test, start, [1, 3], { rateScale: 0 })
    if (furthest(still[2].parameters, start.parameters) > 0)
      fail(
        'parameters whose rate is scaled by 0 move: multiply the rate by rateScale where it is given (LoRA+).',
      )
  },
}
/** The checks of an optimiser. */
export const optimizerChecks: readonly OptimizerCheck[] = [descends, reproduces, resumes, rests]

/** Declares the conformance tests of an optimiser. */
export function testOptimizer(
  { describe, it }: Framework,
  kind: OptimizerKind,
  cases: readonly OptimizerCase[],
): void {
  describe(`optimizer ${kind.name}`, () => {
    it('has a case', async () => {
      if (cases.length === 0) throw new GraftError('BAD_OPTIMIZER', 'there is no case, so nothing is tested.')
    })
    for (const test of cases)
      describe(JSON.stringify({ ...test.numbers, ...test.options }), () => {
        for (const check of optimizerChecks) it(check.name, () => check.run(kind, test))
      })
  })
}
