import { Builder, differentiate, type DType, Graph, isFloat, type Shape, type Value } from '@graft-peft/onnx'
import { Random, type Tensor, type Tensors } from '@graft-peft/core'
import { Session } from '@graft-peft/core/inside'

/** One input of an operator: random floats of a shape, or given numbers. */
export interface CaseInput {
  shape: readonly number[]
  /** numbers to use instead of random ones */
  values?: readonly number[]
  /** random numbers are drawn from this range */
  range?: readonly [number, number]
  dtype?: DType
  /** part of the graph rather than fed, as axes and shapes are */
  constant?: boolean
  /** axes that become symbolic in a symbolic case; all when left out */
  free?: readonly number[]
}
export interface GradientCase {
  op: string
  inputs: readonly (CaseInput | null)[]
  attributes?: Record<string, number | string | readonly number[]>
  /** outputs the operator makes; each takes part in the loss */
  outputs?: number
  /** leave every dimension but those of size 1 symbolic */
  symbolic?: boolean
  /** inputs that the rule declares not differentiable */
  fixed?: readonly number[]
}
export interface GradientReport {
  /** greatest difference between the rule and central differences, relative to the greatest gradient of the same input */
  error: number
  dtype: 'float64' | 'float32'
}

/**
 * Checks a gradient rule by central differences of the operator itself, in float64 where ONNX Runtime has the kernel and else
 * in float32. The loss is a fixed random weighting of all outputs, so no gradient is hidden by symmetry.
 */
export async function checkGradient(test: GradientCase): Promise<GradientReport> {
  try {
    return { error: await greatestError(test, 'float64', 1e-5), dtype: 'float64' }
  } catch (error) {
    if (
      !/NOT_IMPLEMENTED|Could not find an implementation|Type '?.*' of input|NotImplemented/i.test(
        (error as Error).message,
      )
    )
      throw error
    return { error: await greatestError(test, 'float32', 1e-2), dtype: 'float32' }
  }
}
/** What `error` may be, per precision. */
export const gradientTolerance = { float64: 1e-7, float32: 5e-3 } as const

async function greatestError(
  test: GradientCase,
  dtype: 'float64' | 'float32',
  step: number,
): Promise<number> {
  const values = inputValues(test, dtype)
  const loss = build(test, dtype, false)
  const gradient = build(test, dtype, true)
  const weights = await randomWeights(loss, values, dtype)
  const [forward, backward] = [await Session.open(loss.graph), await Session.open(gradient.graph)]
  try {
    const own = await backward.run({ ...values, ...weights })
    let greatest = 0
    for (const name of gradient.names) {
      const expected = await differences(forward, { ...values, ...weights }, name, step)
      greatest = Math.max(
        greatest,
        relativeError(Array.from(own[`d_${name}`].data as Float64Array), expected),
      )
    }
    return greatest
  } finally {
    await forward.close()
    await backward.close()
  }
}

const inputName = (i: number): string => `x${i}`
const isFed = (input: CaseInput | null): input is CaseInput => input !== null && !input.constant

function inputValues({ op, inputs }: GradientCase, dtype: 'float64' | 'float32'): Tensors {
  const random = new Random(1, op)
  return Object.fromEntries(
    inputs.flatMap((input, i) => {
      if (!isFed(input)) return []
      const count = input.shape.reduce((a, b) => a * b, 1)
      const [low, high] = input.range ?? [-2, 2]
      const numbers = input.values ?? Array.from({ length: count }, () => random.uniform(low, high))
      return [[inputName(i), tensor(input.dtype ?? dtype, input.shape, numbers)]]
    }),
  )
}
const arrays = {
  float64: (v: readonly number[]) => Float64Array.from(v),
  float32: (v: readonly number[]) => Float32Array.from(v),
  int64: (v: readonly number[]) => BigInt64Array.from(v, BigInt),
  int32: (v: readonly number[]) => Int32Array.from(v),
  bool: (v: readonly number[]) => Uint8Array.from(v),
}
const tensor = (dtype: DType, shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: dtype as Tensor['dtype'],
  shape,
  data: arrays[dtype as Tensor['dtype']](values),
})

interface Built {
  graph: Graph
  /** float inputs with a gradient */
  names: string[]
  outputs: Value[]
}

/** The operator under its loss: outputs `loss` and the operator's own, or with gradients `d_<input>`. */
function build(test: GradientCase, dtype: 'float64' | 'float32', withGradients: boolean): Built {
  const g = new Builder(new Graph())
  const inputs = test.inputs.map((input, i) =>
    input === null ? null : declare(g, input, i, dtype, test.symbolic ?? false),
  )
  const outputs = g.ops(test.op, inputs, (test.attributes ?? {}) as Record<string, number>, test.outputs ?? 1)
  const floats = outputs.filter((y) => isFloat(y.dtype))
  const parts = floats.map((y, k) => g.sumAll(g.mul(y, g.graph.addInput(`w${k}`, dtype, y.shape as Shape))))
  const loss = parts.reduce(g.add)
  const wanted = inputs.flatMap((v, i) =>
    v && !v.data && isFloat(v.dtype) && !test.fixed?.includes(i) ? [v] : [],
  )
  const results: [string, Value][] = withGradients
    ? differentiate(g, loss, wanted).map((d, k) => [`d_${wanted[k].name}`, d])
    : [['loss', loss], ...floats.map((y, k): [string, Value] => [`y${k}`, y])]
  for (const [name, v] of results)
    g.graph.outputs.push(g.graph.addNode('Identity', [v], {}, { outputs: [name] }).outputs[0] as Value)
  g.graph.prune()
  return { graph: g.graph, names: wanted.map((v) => v.name), outputs: floats }
}

function declare(g: Builder, input: CaseInput, i: number, dtype: DType, symbolic: boolean): Value {
  if (input.constant) return g.constant(input.dtype ?? dtype, input.values ?? [], input.shape)
  const isFree = (d: number, axis: number) => symbolic && d !== 1 && (input.free?.includes(axis) ?? true)
  const shape = input.shape.map((d, axis) => (isFree(d, axis) ? `size${d}` : d))
  return g.graph.addInput(inputName(i), input.dtype ?? dtype, shape)
}

/** Weights of the outputs, shaped as the operator turns out to shape them. */
async function randomWeights(
  { graph, outputs }: Built,
  values: Tensors,
  dtype: 'float64' | 'float32',
): Promise<Tensors> {
  const names = outputs.map((_, k) => `y${k}`)
  const probe = graph.clone().graph
  probe.outputs.splice(0, probe.outputs.length, ...probe.outputs.filter((v) => names.includes(v.name)))
  probe.prune()
  probe.inputs.splice(0, probe.inputs.length, ...probe.inputs.filter((v) => v.users.size > 0))
  const session = await Session.open(probe)
  try {
    const fed = Object.fromEntries(
      Object.entries(values).filter(([name]) => probe.inputs.some((v) => v.name === name)),
    )
    const shapes = await session.run(fed)
    const random = new Random(2, 'weights')
    return Object.fromEntries(
      names.map((name, k) => [
        `w${k}`,
        tensor(
          dtype,
          shapes[name].shape,
          Array.from({ length: shapes[name].data.length }, () => random.uniform(0.5, 1.5)),
        ),
      ]),
    )
  } finally {
    await session.close()
  }
}

async function differences(session: Session, feeds: Tensors, name: string, step: number): Promise<number[]> {
  const at = async (i: number, by: number): Promise<number> => {
    const data = feeds[name].data.slice() as Float64Array
    data[i] += by
    const { loss } = await session.run({ ...feeds, [name]: { ...feeds[name], data } })
    return Number(loss.data[0])
  }
  const result: number[] = []
  for (let i = 0; i < feeds[name].data.length; i++)
    result.push(((await at(i, step)) - (await at(i, -step))) / (2 * step))
  return result
}

function relativeError(own: readonly number[], expected: readonly number[]): number {
  if (own.length !== expected.length) return Number.POSITIVE_INFINITY
  const scale = Math.max(1e-3, ...expected.map(Math.abs))
  return Math.max(
    ...expected.map((e, i) =>
      Number.isFinite(own[i]) ? Math.abs(own[i] - e) / scale : Number.POSITIVE_INFINITY,
    ),
  )
}
