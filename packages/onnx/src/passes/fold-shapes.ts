import type { Builder } from '../graph/builder.js'
import type { Shape } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import type { Node, Value } from '../graph/types.js'

/**
 * Replaces shape arithmetic by its result: numbers become constants, symbolic sizes are read off the graph's inputs.
 * Afterwards no activation is kept alive for its shape, and the chains that computed shapes are dead.
 */
export function foldShapes(g: Builder): void {
  for (const node of g.graph.sorted())
    node.inputs.forEach((v, i) => {
      const folded =
        node.op === 'Reshape' && i === 1 ? reshapeTarget(g, node) : v?.producer && foldedValue(g, v)
      if (folded && folded !== v) g.graph.setInput(node, i, folded)
    })
  g.graph.prune()
}

function foldedValue(g: Builder, v: Value): Value | undefined {
  if (!v.known || !v.shape || v.shape.length > 1) return undefined
  if (v.known.every((d) => typeof d !== 'string')) return constant(g, v)
  if (v.dtype !== 'int64' || v.producer?.op === 'Shape') return undefined
  const vector = vectorOf(g, v.known as Shape)
  return vector && v.shape.length === 0 ? g.squeeze(vector, [0]) : vector
}

function constant(g: Builder, v: Value): Value | undefined {
  if (!['float32', 'int64', 'bool', 'int32'].includes(v.dtype)) return undefined
  return g.constant(
    v.dtype,
    (v.known as readonly (number | boolean)[]).map(Number),
    v.shape as readonly number[],
  )
}

/** With at most one symbolic entry the target is a constant: that entry is what is left over. */
function reshapeTarget(g: Builder, node: Node): Value | undefined {
  const shape = node.outputs[0]?.shape
  const target = shape && !shape.includes(0) ? vectorOf(g, shape, true) : undefined
  if (target) node.attributes = {}
  return target
}

/** A shape as run-time arithmetic, or undefined where one of its symbols can't be read off the graph. */
function vectorOf(g: Builder, shape: Shape, forReshape = false): Value | undefined {
  try {
    return g.shapeVector(shape, forReshape)
  } catch (error) {
    if (error instanceof GraftError && error.code === 'UNKNOWN_DIMENSION') return undefined
    throw error
  }
}
