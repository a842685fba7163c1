import { is } from '../graph/ops/traits.js'
import { dtypes, type Node, type Value } from '../graph/types.js'

export const inputsOf = (node: Node): (Value | null)[] =>
  node.captures ? [...node.inputs, ...node.captures] : node.inputs

/**
 * Which values share a buffer, as ONNX Runtime's allocation planner decides before anything runs: a view is its input, a kernel may
 * write over an input of the output's shape that is read no more, and a value takes the buffer of a dead one of the same shape, the
 * one that died last. Gives each value the value whose buffer it is in.
 */
export function shareBuffers(order: readonly Node[], outputs: readonly Value[]): Map<Value, Value> {
  const reads = countReads(order, outputs)
  const buffer = new Map<Value, Value>()
  const root = (v: Value): Value => buffer.get(v) ?? v
  const dead: Value[] = []
  const kept = new Set(outputs)
  for (const node of order) {
    node.outputs.forEach((y, i) => {
      if (!y) return
      const taken = kept.has(y)
        ? undefined
        : ((i === 0 ? overwritten(node, y, root, reads) : undefined) ?? revived(dead, y))
      buffer.set(y, taken ?? y)
      if (taken) reads.set(taken, (reads.get(taken) ?? 0) + (reads.get(y) ?? 0))
    })
    for (const v of [...inputsOf(node), ...node.outputs]) {
      if (!v?.producer) continue
      const left = (reads.get(root(v)) ?? 0) - (node.outputs.includes(v) ? 0 : 1)
      reads.set(root(v), left)
      if (left === 0 && !dead.includes(root(v))) dead.unshift(root(v))
    }
  }
  return buffer
}

/** How often each value is read, once more for being an output. */
export function countReads(order: readonly Node[], outputs: readonly Value[]): Map<Value, number> {
  const reads = new Map<Value, number>()
  const count = (v: Value | null) => v && reads.set(v, (reads.get(v) ?? 0) + 1)
  for (const node of order) inputsOf(node).forEach(count)
  outputs.forEach(count)
  return reads
}

const sameSize = (a: Value, b: Value): boolean =>
  dtypes[a.dtype].bytes === dtypes[b.dtype].bytes && !!a.shape && `${a.shape}` === `${b.shape}`

function overwritten(
  node: Node,
  y: Value,
  root: (v: Value) => Value,
  reads: ReadonlyMap<Value, number>,
): Value | undefined {
  const [x] = node.inputs
  if (!x?.producer) return undefined
  if (is(node.op, 'view')) return root(x)
  return is(node.op, 'inPlace') && reads.get(root(x)) === 1 && sameSize(x, y) ? root(x) : undefined
}

function revived(dead: Value[], y: Value): Value | undefined {
  if (!y.shape || y.shape.length === 0) return undefined
  const i = dead.findIndex((v) => sameSize(v, y))
  return i < 0 ? undefined : dead.splice(i, 1)[0]
}
