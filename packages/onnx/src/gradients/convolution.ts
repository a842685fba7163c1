import { isStatic, type Shape } from '../graph/dim.js'
import { GraftError } from '../graph/errors.js'
import { shapeOf } from '../graph/graph.js'
import type { Value } from '../graph/types.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

interface Geometry {
  strides: readonly number[]
  dilations: readonly number[]
  pads: readonly number[]
  kernel: readonly number[]
  size: Shape
  group: number
}

function geometry(c: RuleContext): Geometry {
  const [size, kernel] = [c.shape(0).slice(2), c.shape(1).slice(2)]
  const ones = kernel.map(() => 1)
  const strides = c.ints('strides') ?? ones
  // Nothing is left over at the far edge where no position is skipped, however long the axis is.
  const fixed = size.every((s, i) => typeof s === 'number' || strides[i] === 1)
  if (!fixed || !isStatic(kernel) || (c.attribute('auto_pad') ?? 'NOTSET') !== 'NOTSET')
    throw new GraftError(
      'NO_GRADIENT_RULE',
      `Conv at ${c.node.name}: the gradient needs fixed sizes where it strides, and explicit pads.`,
    )
  return {
    strides,
    dilations: c.ints('dilations') ?? ones,
    pads: c.ints('pads') ?? [...ones, ...ones].map(() => 0),
    kernel,
    size,
    group: c.int('group', 1),
  }
}

/** What the strides skipped at the far edge, which the transposed convolution must give back. */
function remainder({ size, pads, dilations, kernel, strides }: Geometry): number[] {
  return size.map((s, i) =>
    typeof s === 'number'
      ? (s + pads[i] + pads[i + size.length] - dilations[i] * (kernel[i] - 1) - 1) % strides[i]
      : 0,
  )
}

function inputGradient(c: RuleContext): Value {
  const shape = geometry(c)
  const { strides, dilations, pads, group } = shape
  return c.g.op('ConvTranspose', [c.dy, c.x[1]], {
    strides,
    dilations,
    pads,
    group,
    output_padding: remainder(shape),
  })
}

/** dW is the convolution of x with dy, batch and channels exchanged, strides and dilations exchanged. */
function weightGradient(c: RuleContext): Value {
  const { g } = c
  const { strides, dilations, pads, kernel, group } = geometry(c)
  const exchange = [1, 0, ...kernel.map((_, i) => i + 2)]
  const parts = (v: Value): Value[] => {
    const each = Number(shapeOf(v)[1]) / group
    return g.split(v, Array<number>(group).fill(each), 1)
  }
  const ups = parts(c.dy)
  const gradients = parts(c.x[0]).map((x, i) => {
    const full = g.op('Conv', [g.transpose(x, exchange), g.transpose(ups[i], exchange)], {
      strides: dilations,
      dilations: strides,
      pads,
    })
    return g.transpose(
      kernel.reduce((v, k, axis) => g.slice(v, 0, k, axis + 2), full),
      exchange,
    )
  })
  return g.concat(gradients, 0)
}

const conv: GradientRule = (c) => {
  const others = c.shape(0).flatMap((_, i) => (i === 1 ? [] : [i]))
  return [
    () => inputGradient(c),
    () => weightGradient(c),
    () => c.g.squeeze(c.g.reduceSum(c.dy, others), others),
  ]
}

export const convolutions: GradientTable = { Conv: conv }
