import { is } from '../graph/ops/traits.js'
import type { Graph } from '../graph/graph.js'
import type { Node, Value } from '../graph/types.js'
import { bytesOf } from './sizes.js'

const packs = (node: Node, v: Value): boolean =>
  is(node.op, 'packing') && node.inputs[1] === v && (v.shape?.length ?? 0) >= 2

/**
 * What a constant comes to where kernels pack: how many copies, and whether it stays itself. ONNX Runtime lets
 * a matrix go when all that read it have their copies.
 */
export function packedCopies(v: Value): { copies: number; stays: boolean } {
  const readers = [...v.users]
  const copies = readers.filter((node) => packs(node, v)).length
  return { copies, stays: copies < readers.length }
}

/** Share of all constants that packing may add where nobody asks for it. */
const free = 0.1

/**
 * Whether packed copies take the places of a graph's matrices. So it is with products of 8-bit integers, each
 * orientation of whose matrix is read once, or again in blocks that are repeated; of floats, forward and backward pass read the same matrix, and
 * each would pack it.
 */
export function packsFreely(graph: Graph): boolean {
  let [plain, more] = [0, 0]
  let integers = false
  for (const v of graph.constants()) {
    const bytes = bytesOf(v, {})
    const { copies, stays } = packedCopies(v)
    plain += bytes
    if (copies > 0) more += bytes * (copies - 1 + Number(stays))
    integers ||= v.dtype === 'int8' && copies > 0
  }
  return integers && more <= free * plain
}
