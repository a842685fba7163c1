import type { Builder } from '../graph/builder.js'
import { addDims, type Dim, type Shape, subtractDims } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import { shapeOf } from '../graph/graph.js'
import { isOpen } from '../graph/ops/shape.js'
import type { Value } from '../graph/types.js'
import { scatterByPosition } from './gather.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

const back: GradientRule = ({ g, dy, ...c }) => [() => g.reshape(dy, shapeOf(c.x[0])), null]

const transpose: GradientRule = (c) => {
  const rank = c.shape(0).length
  const perm = c.ints('perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i)
  const inverse = perm.map((_, i) => perm.indexOf(i))
  return [() => c.g.transpose(c.dy, inverse)]
}

/** dy between two offsets of one axis, offsets possibly symbolic. */
function between(g: Builder, dy: Value, start: Dim, end: Dim, axis: number): Value {
  return g.op('Slice', [dy, g.dim(start), g.dim(end), g.ints([axis])])
}
const concat: GradientRule = (c) => {
  const axis = c.axis(0, c.shape(0).length)
  const ends: Dim[] = [0]
  for (const v of c.x) ends.push(addDims(ends[ends.length - 1], shapeOf(v)[axis]))
  return c.x.map((_, i) => () => between(c.g, c.dy, ends[i], ends[i + 1], axis))
}
const split: GradientRule = (c) => {
  const axis = c.axis(0, c.shape(0).length)
  const part = (i: number) => c.dys[i] ?? c.g.zeros(shapeOf(c.y[i]), c.x[0].dtype)
  return [
    () =>
      c.g.concat(
        c.y.map((_, i) => part(i)),
        axis,
      ),
    null,
  ]
}

interface Window {
  axis: number
  start: Dim
  end: Dim
}
/** The windows a Slice takes when every step is 1 and every bound is known; undefined otherwise. */
function windows(c: RuleContext): Window[] | undefined {
  const [shape, [, starts, ends, axes, steps]] = [c.shape(0), c.x]
  if (!starts.known || !ends.known || (steps && !steps.known?.every((s) => s === 1)) || (axes && !axes.known))
    return undefined
  const bounds = starts.known.map((_, i) => {
    const axis = Number(axes?.known?.[i] ?? i)
    const at = axis < 0 ? axis + shape.length : axis
    return {
      axis: at,
      start: bound(starts.known?.[i] as Dim, shape[at]),
      end: bound(ends.known?.[i] as Dim, shape[at]),
    }
  })
  return bounds.every((w) => w.start !== undefined && w.end !== undefined) ? (bounds as Window[]) : undefined
}
function bound(at: Dim, size: Dim): Dim | undefined {
  if (typeof at === 'string') return at
  if (typeof size === 'number') return Math.min(Math.max(at < 0 ? at + size : at, 0), size)
  if (isOpen(at)) return size
  return at < 0 ? addDims(size, at) : at
}
const slice: GradientRule = (c) => {
  const taken = windows(c)
  const rest = c.x.slice(1).map(() => null)
  if (!taken) return [() => scatterByPosition(c.g, c.node, c.dy), ...rest]
  const shape = c.shape(0)
  const window = (axis: number) => taken.find((w) => w.axis === axis)
  const before = shape.map((_, i) => window(i)?.start ?? 0)
  const after = shape.map((d, i) => subtractDims(d, window(i)?.end ?? d))
  return [() => pad(c.g, c.dy, before, after), ...rest]
}
function pad(g: Builder, dy: Value, before: Shape, after: Shape): Value {
  if ([...before, ...after].every((d) => d === 0)) return dy
  return g.op('Pad', [dy, g.shapeVector([...before, ...after]), g.scalar(0, dy)])
}

const tile: GradientRule = (c) => [
  () => {
    const [shape, repeats] = [c.shape(0), c.x[1].known as Shape | undefined]
    if (!repeats)
      throw new GraftError(
        'UNKNOWN_REPEATS',
        `Tile at ${c.node.name}: the gradient needs repeats that are known at compile time.`,
      )
    const apart = shape.flatMap((d, i) => [repeats[i], d])
    const summed = c.g.reduceSum(
      c.g.reshape(c.dy, apart),
      shape.map((_, i) => 2 * i),
      false,
    )
    return summed
  },
  null,
]

/** Constant padding: the gradient is the part that isn't padding. */
const padRule: GradientRule = (c) => [
  () => {
    const [shape, pads, axes] = [c.shape(0), c.x[1].known as Shape | undefined, c.x[3]?.known]
    if ((c.attribute('mode') ?? 'constant') !== 'constant' || !pads)
      throw new GraftError(
        'NO_GRADIENT_RULE',
        `Pad at ${c.node.name}: only constant padding by known amounts has a gradient rule.`,
      )
    const padded = axes
      ? axes.map((a) => (Number(a) < 0 ? Number(a) + shape.length : Number(a)))
      : shape.map((_, i) => i)
    const starts = c.g.shapeVector(padded.map((_, i) => pads[i]))
    const ends = c.g.shapeVector(padded.map((axis, i) => addDims(pads[i], shape[axis])))
    return c.g.op('Slice', [c.dy, starts, ends, c.g.ints(padded)])
  },
  null,
  null,
  null,
]

export const shapes: GradientTable = {
  Reshape: back,
  Flatten: back,
  Squeeze: back,
  Unsqueeze: back,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Expand: ({ dy }) => [() => dy, null],
  Tile: tile,
  Pad: padRule,
  Trilu: ({ x, node, dy, g }) => [() => g.op('Trilu', [dy, ...x.slice(1)], node.attributes), null],
  CumSum: ({ x, node, dy, g }) => [
    () =>
      g.op('CumSum', [dy, x[1]], { ...node.attributes, reverse: 1 - Number(node.attributes.reverse ?? 0) }),
    null,
  ],
}
