import type { Builder } from '../graph/builder.js'
import { productOf } from '../graph/dim.js'
import { shapeOf } from '../graph/graph.js'
import { type Node, type Value, inputOf } from '../graph/types.js'
import type { GradientRule, GradientTable } from './rule.js'

/** The gradient of any operator that only picks elements: the same operator picks their positions, and dy is added there. */
export function scatterByPosition(g: Builder, node: Node, dy: Value): Value {
  const x = inputOf(node)
  const total = productOf(shapeOf(x))
  const all = g.reshape(g.range(g.squeeze(g.dim(total), [0])), shapeOf(x))
  const picked = g.reshape(g.op(node.op, [all, ...node.inputs.slice(1)], node.attributes), [-1])
  const sum = g.op('ScatterElements', [g.zeros([total], dy.dtype), picked, g.reshape(dy, [-1])], {
    axis: 0,
    reduction: 'add',
  })
  return g.reshape(sum, shapeOf(x))
}

/** Rows taken along an axis go back by addition; equal indices (a repeated token) sum. */
const gather: GradientRule = ({ x: [data, indices], dy, g, ...c }) => {
  const [shape, rank] = [shapeOf(data), shapeOf(indices).length]
  const axis = c.axis(0, shape.length)
  const scatter = () => {
    const front = [axis, ...shape.map((_, i) => i).filter((i) => i !== axis)]
    const picked = Array.from({ length: rank }, (_, i) => axis + i)
    const order = [
      ...picked,
      ...shapeOf(dy)
        .map((_, i) => i)
        .filter((i) => !picked.includes(i)),
    ]
    const updates = axis === 0 ? dy : g.transpose(dy, order)
    const zeros = g.zeros(
      front.map((i) => shape[i]),
      dy.dtype,
    )
    const sum = g.op('ScatterND', [zeros, g.unsqueeze(indices, [-1]), updates], { reduction: 'add' })
    return axis === 0
      ? sum
      : g.transpose(
          sum,
          front.map((_, i) => front.indexOf(i)),
        )
  }
  return [scatter, null]
}

const gatherND: GradientRule = ({ x: [data, indices], node, dy, g, ...c }) => [
  () =>
    c.int('batch_dims', 0) === 0
      ? g.op('ScatterND', [g.zeros(shapeOf(data), dy.dtype), indices, dy], { reduction: 'add' })
      : scatterByPosition(g, node, dy),
  null,
]

/** data[indices] ← or += updates: what was overwritten gets no gradient, what was written gets dy there. */
const scatter =
  (op: 'ScatterND' | 'ScatterElements', pick: 'GatherND' | 'GatherElements'): GradientRule =>
  ({ x: [, indices, updates], dy, g, ...c }) => {
    const axis: Record<string, number> = op === 'ScatterElements' ? { axis: c.int('axis', 0) } : {}
    const adds = c.attribute('reduction') === 'add'
    return [
      () => (adds ? dy : g.op(op, [dy, indices, g.zeros(shapeOf(updates), dy.dtype)], axis)),
      null,
      () => g.op(pick, [dy, indices], axis),
    ]
  }

export const gathers: GradientTable = {
  Gather: gather,
  GatherElements: ({ x: [data, indices], dy, g, ...c }) => [
    () =>
      g.op('ScatterElements', [g.zeros(shapeOf(data), dy.dtype), indices, dy], {
        axis: c.int('axis', 0),
        reduction: 'add',
      }),
    null,
  ],
  GatherND: gatherND,
  ScatterND: scatter('ScatterND', 'GatherND'),
  ScatterElements: scatter('ScatterElements', 'GatherElements'),
  TopK: ({ x: [data], y: [, indices], dy, g, ...c }) => [
    () =>
      g.op('ScatterElements', [g.zeros(shapeOf(data), dy.dtype), indices, dy], {
        axis: c.int('axis', -1),
        reduction: 'add',
      }),
    null,
  ],
}
