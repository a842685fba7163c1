import { is } from '../graph/ops/traits.js'
import type { Builder } from '../graph/builder.js'
import { intAttribute, intsAttribute, type Node, type Value, inputOf, outputOf } from '../graph/types.js'

/** The value before a transposition of the last two dimensions, or undefined. */
function untransposed(v: Value | null): Value | undefined {
  const node = v?.producer
  if (node?.op !== 'Transpose' || !v?.shape) return undefined
  const rank = v.shape.length
  const perm = intsAttribute(node, 'perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i)
  const swaps =
    rank >= 2 && perm.every((p, i) => p === (i < rank - 2 ? i : i === rank - 2 ? rank - 1 : rank - 2))
  return swaps ? inputOf(node) : undefined
}
const scalarOf = (v: Value | null): number | undefined =>
  v?.data && (v.shape?.length === 0 || (v.shape?.length === 1 && v.shape[0] === 1))
    ? Number(v.known?.[0])
    : undefined

/** MatMul(a, Transpose(b)) reads b as it lies: no transposed copy of a weight or of the keys is ever made. */
function fuseTransposition(g: Builder, node: Node): void {
  const [a, b] = node.inputs as Value[]
  if (a.dtype !== 'float32' || (a.shape?.length ?? 0) < 2 || (b.shape?.length ?? 0) < 2) return
  const [plainA, plainB] = [untransposed(a), untransposed(b)]
  if (!plainA && !plainB) return
  const flags = { transA: plainA !== undefined, transB: plainB !== undefined }
  const fused = g.graph.within(node.scope, () => g.matMul(plainA ?? a, plainB ?? b, flags))
  g.graph.replaceUses(outputOf(node), fused)
  g.graph.removeNode(node)
}

/** A power of two after a product of activations becomes the product's alpha; other factors would round differently there. */
function fuseScale(g: Builder, node: Node): void {
  const [x, factor] = scalarOf(node.inputs[0]) === undefined ? node.inputs : [node.inputs[1], node.inputs[0]]
  const alpha = node.op === 'Mul' ? scalarOf(factor) : inverse(scalarOf(node.inputs[1]))
  const product = x?.producer
  if (
    alpha === undefined ||
    !Number.isInteger(Math.log2(alpha)) ||
    !product ||
    x?.users.size !== 1 ||
    x.dtype !== 'float32' ||
    product.inputs.some((v) => v?.data)
  )
    return
  if (!is(product.op, 'product') || product.inputs.length !== 2) return
  if (product.inputs.some((v) => (v?.shape?.length ?? 0) < 2)) return
  const attributes = {
    transA: intAttribute(product, 'transA', 0),
    transB: intAttribute(product, 'transB', 0),
    alpha: alpha * intAttribute(product, 'alpha', 1),
  }
  const fused = g.graph.within(product.scope, () =>
    g.op('com.microsoft::FusedMatMul', product.inputs, attributes),
  )
  g.graph.replaceUses(outputOf(node), fused)
  g.graph.removeNode(node)
  g.graph.removeNode(product)
}
const inverse = (v: number | undefined): number | undefined => (v === undefined ? undefined : 1 / v)

interface Part {
  node: Node
  start: number
  end: number
}
/** Slices that together cover one axis become a Split, whose gradient is a single Concat. */
function fuseSlices(g: Builder, whole: Value): void {
  const byAxis = new Map<number, Part[]>()
  for (const node of whole.users) {
    const part = node.op === 'Slice' && node.inputs[0] === whole ? staticPart(node, whole) : undefined
    if (part) byAxis.set(part.axis, [...(byAxis.get(part.axis) ?? []), part])
  }
  for (const [axis, parts] of byAxis) {
    const size = whole.shape?.[axis] as number
    const bounds = [...new Set(parts.flatMap((p) => [p.start, p.end]))].sort((a, b) => a - b)
    const pieces = bounds.slice(1).map((end, i) => ({ start: bounds[i], end }))
    const covered =
      bounds[0] === 0 &&
      bounds[bounds.length - 1] === size &&
      pieces.every((s) => parts.some((p) => p.start === s.start && p.end === s.end))
    if (!covered || pieces.length < 2 || parts.length !== pieces.length) continue
    const sizes = pieces.map((s) => s.end - s.start)
    const made = g.graph.within(parts[0].node.scope, () => g.split(whole, sizes, axis))
    for (const part of parts) {
      g.graph.replaceUses(outputOf(part.node), made[pieces.findIndex((s) => s.start === part.start)])
      g.graph.removeNode(part.node)
    }
  }
}
function staticPart(node: Node, whole: Value): (Part & { axis: number }) | undefined {
  const [, starts, ends, axes, steps] = node.inputs
  const rank = whole.shape?.length ?? 0
  if (
    starts?.known?.length !== 1 ||
    ends?.known?.length !== 1 ||
    !axes?.known ||
    (steps && steps.known?.[0] !== 1)
  )
    return undefined
  const axis = (Number(axes.known[0]) + rank) % rank
  const size = whole.shape?.[axis]
  if (typeof size !== 'number') return undefined
  const clamp = (v: number) => Math.min(Math.max(v < 0 ? v + size : v, 0), size)
  return { node, axis, start: clamp(Number(starts.known[0])), end: clamp(Number(ends.known[0])) }
}

/** Fuses what ONNX Runtime computes in one kernel and what has a more compact gradient. */
export function fuse(g: Builder): void {
  const of = (...ops: string[]) => g.graph.sorted().filter((n) => ops.includes(n.op))
  for (const node of of('MatMul')) fuseTransposition(g, node)
  for (const node of of('Mul', 'Div')) fuseScale(g, node)
  for (const whole of new Set(of('Slice').map((n) => inputOf(n)))) fuseSlices(g, whole)
  g.graph.prune()
}
