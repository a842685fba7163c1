import type { Builder } from '../graph/builder.js'
import { type Attribute, type Node, type Value, inputOf, outputOf } from '../graph/types.js'

/** What a pattern found: the operator that says the same, its inputs and attributes. */
interface Recognised {
  op: string
  inputs: Value[]
  attributes: Record<string, Attribute>
}
/** Looks at a node and, when it is the last of a known pattern, says what the pattern is. */
type Pattern = (node: Node) => Recognised | undefined

const made = (v: Value | null | undefined, ...ops: string[]): Node | undefined =>
  v?.producer && ops.includes(v.producer.op) ? v.producer : undefined
const number = (v: Value | null | undefined): number | undefined =>
  v?.data && v.known?.length === 1 && typeof v.known[0] === 'number' ? v.known[0] : undefined
const near = (a: number | undefined, b: number): boolean =>
  a !== undefined && Math.abs(a - b) <= 1e-4 * Math.abs(b)

/** The two operands of a commutative node as [matching, other], or undefined. */
function operand(node: Node | undefined, matches: (v: Value) => boolean): [Value, Value] | undefined {
  const [a, b] = (node?.inputs ?? []) as Value[]
  if (!a || !b) return undefined
  return matches(a) ? [a, b] : matches(b) ? [b, a] : undefined
}

/** The factors of a product, numbers multiplied together; x/c counts as x·(1/c). */
function factorsOf(v: Value, root = true): { values: Value[]; constant: number } {
  const constant = number(v)
  if (constant !== undefined) return { values: [], constant }
  const node = root || v.users.size === 1 ? made(v, 'Mul', 'Div') : undefined
  const divisor = node?.op === 'Div' ? number(node.inputs[1]) : undefined
  if (!node || (node.op === 'Div' && divisor === undefined)) return { values: [v], constant: 1 }
  const left = factorsOf(inputOf(node), false)
  if (divisor !== undefined) return { values: left.values, constant: left.constant / divisor }
  const right = factorsOf(inputOf(node, 1), false)
  return { values: [...left.values, ...right.values], constant: left.constant * right.constant }
}

/** mean(x²) over the last axis, plus epsilon: gives x and epsilon. */
function meanSquare(v: Value | null): { x: Value; epsilon: number } | undefined {
  const sum = operand(made(v, 'Add'), (a) => made(a, 'ReduceMean') !== undefined)
  const mean = made(sum?.[0], 'ReduceMean')
  const rank = mean?.inputs[0]?.shape?.length
  const axis = Number(mean?.inputs[1]?.known?.[0])
  const epsilon = number(sum?.[1])
  if (
    !mean ||
    !rank ||
    epsilon === undefined ||
    mean.inputs[1]?.known?.length !== 1 ||
    (axis + rank) % rank !== rank - 1 ||
    mean.attributes.keepdims === 0
  )
    return undefined
  const square = made(mean.inputs[0], 'Pow', 'Mul')
  const isSquare =
    square?.op === 'Pow' ? number(square.inputs[1]) === 2 : square?.inputs[0] === square?.inputs[1]
  return square && isSquare ? { x: inputOf(square), epsilon } : undefined
}
/** 1/√(mean(x²)+ε), spelt as Reciprocal or as a division. */
function inverseDeviation(v: Value): { x: Value; epsilon: number } | undefined {
  const inverted = made(v, 'Reciprocal', 'Div')
  if (!inverted || (inverted.op === 'Div' && number(inverted.inputs[0]) !== 1)) return undefined
  const root = made(inverted.inputs[inverted.op === 'Div' ? 1 : 0], 'Sqrt')
  return root && meanSquare(root.inputs[0])
}

/** scale·(x·inverse deviation): root-mean-square norm (Zhang and Sennrich, 2019). */
const rmsNorm: Pattern = (node) => {
  const scaled =
    node.op === 'Mul'
      ? operand(node, (v) => made(v, 'Mul') !== undefined && v.users.size === 1 && v.shape?.length !== 1)
      : undefined
  const inner = operand(made(scaled?.[0], 'Mul'), (v) => inverseDeviation(v) !== undefined)
  const found = inner && inverseDeviation(inner[0])
  const scale = scaled?.[1]
  const width = found?.x.shape?.at(-1)
  if (
    !found ||
    found.x !== inner?.[1] ||
    scale?.shape?.length !== 1 ||
    scale.shape[0] !== width ||
    found.x.dtype !== 'float32'
  )
    return undefined
  return {
    op: 'SimplifiedLayerNormalization',
    inputs: [found.x, scale],
    attributes: { axis: -1, epsilon: found.epsilon, stash_type: 1 },
  }
}

/** x·σ(x). */
const silu: Pattern = (node) => {
  const found = node.op === 'Mul' ? operand(node, (v) => made(v, 'Sigmoid') !== undefined) : undefined
  if (!found || made(found[0], 'Sigmoid')?.inputs[0] !== found[1] || found[1].dtype !== 'float32')
    return undefined
  return { op: 'com.microsoft::QuickGelu', inputs: [found[1]], attributes: { alpha: 1 } }
}

/** 0.5·x·(1 + f(x)) with f the error function or its tanh approximation. */
const gelu: Pattern = (node) => {
  if (node.op !== 'Mul') return undefined
  const { values, constant } = factorsOf(outputOf(node))
  if (values.length !== 2 || !near(constant, 0.5)) return undefined
  for (const [x, gate] of [values, [values[1], values[0]]]) {
    const [, curve] = operand(made(gate, 'Add'), (v) => number(v) === 1) ?? []
    if (x.dtype !== 'float32' || !curve) continue
    if (isErf(curve, x)) return { op: 'Gelu', inputs: [x], attributes: { approximate: 'none' } }
    if (isTanhCurve(curve, x)) return { op: 'Gelu', inputs: [x], attributes: { approximate: 'tanh' } }
  }
  return undefined
}
function isErf(curve: Value, x: Value): boolean {
  const inner = made(curve, 'Erf')?.inputs[0]
  const { values, constant } = inner ? factorsOf(inner) : { values: [], constant: 0 }
  return values.length === 1 && values[0] === x && near(constant, Math.SQRT1_2)
}
/** tanh(√(2/π)·(x + 0.044715·x³)) */
function isTanhCurve(curve: Value, x: Value): boolean {
  const inner = made(curve, 'Tanh')?.inputs[0]
  const { values, constant } = inner ? factorsOf(inner) : { values: [], constant: 0 }
  if (values.length !== 1 || !near(constant, Math.sqrt(2 / Math.PI))) return false
  const sum = operand(made(values[0], 'Add'), (v) => v === x)
  const cubic = sum && factorsOf(sum[1])
  return !!cubic && near(cubic.constant, 0.044715) && isCube(cubic.values, x)
}
function isCube(values: Value[], x: Value): boolean {
  const power = made(values[0], 'Pow')
  return (
    (values.length === 1 && power?.inputs[0] === x && number(power.inputs[1]) === 3) ||
    (values.length === 3 && values.every((v) => v === x))
  )
}

const patterns: readonly Pattern[] = [rmsNorm, silu, gelu]

/** Replaces known patterns from both PyTorch exporters by the one operator that says the same: one kernel, one compact gradient. */
export function recognise(g: Builder): void {
  for (const node of g.graph.sorted()) {
    const found = patterns.map((p) => p(node)).find(Boolean)
    if (!found) continue
    const { op, inputs, attributes } = found
    const whole = g.graph.within(node.scope, () => g.op(op, inputs, attributes))
    g.graph.replaceUses(outputOf(node), whole)
    g.graph.removeNode(node)
  }
  g.graph.prune()
}
