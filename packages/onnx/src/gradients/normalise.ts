import type { Value } from '../graph/types.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

interface Normalised {
  /** the input, less its mean where the norm takes it off */
  centre: Value
  /** inverse deviation per row, size 1 along the normalised axes */
  inverse: Value
  axes: number[]
}

function axesOf(c: RuleContext): number[] {
  const rank = c.shape(0).length
  const axis = c.axis(-1, rank)
  return Array.from({ length: rank - axis }, (_, i) => axis + i)
}

/** Mean and inverse deviation, which ONNX Runtime can hand out as further outputs of the forward node (float32 only). */
function normalised(c: RuleContext, centred: boolean): Normalised {
  const { g } = c
  const [x] = c.x
  const axes = axesOf(c)
  if (x.dtype === 'float32') {
    const inverse = c.g.graph.output(c.node, centred ? 2 : 1)
    return { centre: centred ? g.sub(x, c.g.graph.output(c.node, 1)) : x, inverse, axes }
  }
  const centre = centred ? g.sub(x, g.reduceMean(x, axes)) : x
  const epsilon = (c.attribute('epsilon') as number | undefined) ?? 1e-5
  const inverse = g.reciprocal(g.sqrt(g.add(g.reduceMean(g.square(centre), axes), g.scalar(epsilon, x))))
  return { centre, inverse, axes }
}

/** dx = inverse·(d − c·mean(d·c)·inverse² [− mean(d)]), with d = dy·scale and c the centred input: no normalised copy is made. */
const layerNorm =
  (centred: boolean): GradientRule =>
  (c) => {
    const { g, dy, x } = c
    let shared: Normalised | undefined
    const n = () => {
      shared ??= normalised(c, centred)
      return shared
    }
    const dx = () => {
      const { centre, inverse, axes } = n()
      const d = g.mul(dy, x[1])
      const slope = g.mul(g.reduceMean(g.mul(d, centre), axes), g.square(inverse))
      const centredD = centred ? g.sub(d, g.reduceMean(d, axes)) : d
      return g.mul(inverse, g.sub(centredD, g.mul(centre, slope)))
    }
    return [dx, () => g.mul(dy, g.mul(n().centre, n().inverse)), () => dy]
  }

/** Inference form: an affine map per channel (axis 1) by running statistics. */
const batchNorm: GradientRule = (c) => {
  const { g, dy } = c
  const [x, scale, , mean, variance] = c.x
  const channel = (v: Value) =>
    g.reshape(
      v,
      c.shape(0).flatMap((_, i) => (i === 0 ? [] : i === 1 ? [-1] : [1])),
    )
  const inverse = () =>
    g.reciprocal(
      g.sqrt(g.add(variance, g.scalar((c.attribute('epsilon') as number | undefined) ?? 1e-5, variance))),
    )
  const perChannel = (v: Value) => g.squeeze(g.reduceSum(v, others), others)
  const others = c.shape(0).flatMap((_, i) => (i === 1 ? [] : [i]))
  return [
    () => g.mul(dy, channel(g.mul(scale, inverse()))),
    () => perChannel(g.mul(dy, g.mul(g.sub(x, channel(mean)), channel(inverse())))),
    () => perChannel(dy),
    null,
    null,
  ]
}

export const normalisations: GradientTable = {
  LayerNormalization: layerNorm(true),
  SimplifiedLayerNormalization: layerNorm(false),
  BatchNormalization: batchNorm,
}
