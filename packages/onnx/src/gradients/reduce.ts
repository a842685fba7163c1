import type { Builder } from '../graph/builder.js'
import { type Dim, productOf, type Shape } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import { shapeOf } from '../graph/graph.js'
import type { Value } from '../graph/types.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

function reducedAxes(c: RuleContext): number[] {
  const rank = c.shape(0).length
  const all = Array.from({ length: rank }, (_, i) => i)
  if (!c.x[1]) return c.int('noop_with_empty_axes', 0) ? [] : all
  const known = c.x[1].known
  if (!known)
    throw new GraftError(
      'UNKNOWN_AXES',
      `${c.node.op} at ${c.node.name}: the gradient needs axes that are known at compile time.`,
    )
  return known.map((a) => (Number(a) < 0 ? Number(a) + rank : Number(a)))
}

/** Puts reduced axes back as size 1, so that values of a reduction broadcast against its input. */
function kept(c: RuleContext, v: Value): Value {
  if (c.int('keepdims', 1) === 1) return v
  const axes = reducedAxes(c)
  return c.g.reshape(
    v,
    c.shape(0).map((d, i) => (axes.includes(i) ? 1 : d)),
  )
}

/** The number of elements each result was made of, as a scalar of the value's type. */
function count(g: Builder, shape: Shape, like: Value): Value {
  const total: Dim = productOf(shape)
  return typeof total === 'number' ? g.scalar(total, like) : g.cast(g.squeeze(g.dim(total), [0]), like.dtype)
}
const reducedCount = (c: RuleContext): Value =>
  count(
    c.g,
    reducedAxes(c).map((i) => c.shape(0)[i]),
    c.dy,
  )

/** dy·f(x, y) with dy and y shaped to broadcast against x. */
const reduction =
  (slope: (g: Builder, x: Value, y: Value, c: RuleContext) => Value): GradientRule =>
  (c) => [() => c.g.mul(kept(c, c.dy), slope(c.g, c.x[0], kept(c, c.y[0]), c)), null]

/** Winners share the gradient equally, as torch.amax does. */
const extreme = reduction((g, x, y, c) => {
  const wins = g.cast(g.equal(x, y), x.dtype)
  return g.div(wins, g.reduceSum(wins, reducedAxes(c)))
})

function lastAxis(c: RuleContext): number[] {
  return [c.axis(-1, c.shape(0).length)]
}
const softmax: GradientRule = (c) => [
  () => {
    const { g, dy, y } = c
    const weighted = g.mul(dy, y[0])
    return g.sub(weighted, g.mul(y[0], g.reduceSum(weighted, lastAxis(c))))
  },
]
const logSoftmax: GradientRule = (c) => [
  () => c.g.sub(c.dy, c.g.mul(c.g.exp(c.y[0]), c.g.reduceSum(c.dy, lastAxis(c)))),
]

export const reductions: GradientTable = {
  ReduceSum: (c) => [() => kept(c, c.dy), null],
  ReduceMean: (c) => [() => c.g.div(kept(c, c.dy), reducedCount(c)), null],
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceProd: reduction((g, x, y) => g.div(y, x)),
  ReduceL1: reduction((g, x) => g.sign(x)),
  ReduceL2: reduction((g, x, y) => g.div(x, y)),
  ReduceSumSquare: reduction((g, x) => g.scale(x, 2)),
  ReduceLogSum: reduction((g, _, y) => g.exp(g.neg(y))),
  ReduceLogSumExp: reduction((g, x, y) => g.exp(g.sub(x, y))),
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  GlobalAveragePool: (c) => [() => c.g.div(c.dy, count(c.g, shapeOf(c.x[0]).slice(2), c.dy))],
}
