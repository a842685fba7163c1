import type { Builder } from '../graph/builder.js'
import { dtypes, isFloat, type Value } from '../graph/types.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

/** dy·f(x, y) for a function of one input. */
const unary =
  (derivative: (g: Builder, x: Value, y: Value, c: RuleContext) => Value): GradientRule =>
  (c) => [() => c.g.mul(c.dy, derivative(c.g, c.x[0], c.y[0], c))]
const one = (g: Builder, like: Value): Value => g.scalar(1, like)
const float = (c: RuleContext, name: string, otherwise: number): number =>
  (c.attribute(name) as number | undefined) ?? otherwise

const pow: GradientRule = ({ x: [a, p], y: [y], dy, g }) => [
  () => {
    const exponent = p.known?.length === 1 ? Number(p.known[0]) : undefined
    if (exponent === 2) return g.mul(dy, g.scale(a, 2))
    const slope =
      exponent === undefined
        ? g.mul(g.cast(p, a.dtype), g.pow(a, g.sub(p, g.scalar(1, p))))
        : g.scale(g.pow(a, g.scalar(exponent - 1, a)), exponent)
    return g.mul(dy, slope)
  },
  isFloat(p.dtype) ? () => g.mul(g.mul(dy, y), g.log(a)) : null,
]

/** The greatest (or least) of several: equal winners share the gradient, as torch.maximum does. */
const extreme: GradientRule = ({ x, y: [y], dy, g }) => {
  const wins = (v: Value) => g.cast(g.equal(g.add(v, g.scale(y, 0)), y), y.dtype)
  return x.map((v) => () => {
    const winners = x.map(wins).reduce(g.add)
    return g.div(g.mul(dy, wins(v)), winners)
  })
}

const clip: GradientRule = ({ x: [a, low, high], dy, g }) => [
  () => {
    const above = low && g.op('GreaterOrEqual', [a, low])
    const below = high && g.lessOrEqual(a, high)
    const inside = above && below ? g.op('And', [above, below]) : (above ?? below)
    return inside ? g.where(inside, dy, g.scalar(0, dy)) : dy
  },
  null,
  null,
]

/** d/dx of x·Φ(x): Φ(x) + x·φ(x); the tanh form differentiates its own approximation. */
function geluSlope(g: Builder, x: Value, _y: Value, c: RuleContext): Value {
  if (c.attribute('approximate') === 'tanh') return geluTanhSlope(g, x)
  const cdf = g.scale(g.add(g.op('Erf', [g.scale(x, Math.SQRT1_2)]), one(g, x)), 0.5)
  const density = g.scale(g.exp(g.scale(g.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI))
  return g.add(cdf, g.mul(x, density))
}
function geluTanhSlope(g: Builder, x: Value): Value {
  const [k, cubic] = [Math.sqrt(2 / Math.PI), 0.044715]
  const square = g.square(x)
  const t = g.tanh(g.scale(g.mul(x, g.add(g.scale(square, cubic), one(g, x))), k))
  const inner = g.scale(g.add(g.scale(square, 3 * cubic), one(g, x)), k)
  const sech2 = g.sub(one(g, x), g.square(t))
  return g.scale(g.add(g.add(t, one(g, x)), g.mul(x, g.mul(sech2, inner))), 0.5)
}
/** y = x·σ(αx): σ + αx·σ(1 − σ) = σ + αy − αy·σ. */
function quickGeluSlope(g: Builder, x: Value, y: Value, c: RuleContext): Value {
  const alpha = float(c, 'alpha', 1.702)
  const [s, ay] = [g.sigmoid(g.scale(x, alpha)), g.scale(y, alpha)]
  return g.add(s, g.sub(ay, g.mul(ay, s)))
}
const step = (g: Builder, x: Value, below: Value): Value =>
  g.where(g.greater(x, g.scalar(0, x)), one(g, x), below)

export const elementwise: GradientTable = {
  Add: ({ dy }) => [() => dy, () => dy],
  Sub: ({ dy, g }) => [() => dy, () => g.neg(dy)],
  Mul: ({ x: [a, b], dy, g }) => [() => g.mul(dy, b), () => g.mul(dy, a)],
  Div: ({ x: [, b], y: [y], dy, g }) => [() => g.div(dy, b), () => g.neg(g.div(g.mul(dy, y), b))],
  Pow: pow,
  Sum: ({ x, dy }) => x.map(() => () => dy),
  Mean: ({ x, dy, g }) => x.map(() => () => g.scale(dy, 1 / x.length)),
  Max: extreme,
  Min: extreme,
  Where: ({ x: [condition], dy, g }) => [
    null,
    () => g.where(condition, dy, g.scalar(0, dy)),
    () => g.where(condition, g.scalar(0, dy), dy),
  ],
  Cast: ({ x: [a], dy, g }) => [
    isFloat(a.dtype) ? () => g.op('Cast', [dy], { to: dtypes[a.dtype].code }) : null,
  ],
  CastLike: ({ x: [a], dy, g }) => [isFloat(a.dtype) ? () => g.cast(dy, a.dtype) : null, null],
  Identity: ({ dy }) => [() => dy],
  Neg: ({ dy, g }) => [() => g.neg(dy)],
  Abs: unary((g, x) => g.sign(x)),
  Sqrt: unary((g, _, y) => g.div(g.scalar(0.5, y), y)),
  Reciprocal: unary((g, _, y) => g.neg(g.square(y))),
  Exp: unary((_g, _x, y) => y),
  Log: unary((g, x) => g.reciprocal(x)),
  Sin: unary((g, x) => g.op('Cos', [x])),
  Cos: unary((g, x) => g.neg(g.op('Sin', [x]))),
  Tan: unary((g, _, y) => g.add(g.square(y), one(g, y))),
  Erf: unary((g, x) => g.scale(g.exp(g.neg(g.square(x))), 2 / Math.sqrt(Math.PI))),
  Tanh: unary((g, _, y) => g.sub(one(g, y), g.square(y))),
  Sigmoid: unary((g, _, y) => g.mul(y, g.sub(one(g, y), y))),
  Relu: unary((g, x) => step(g, x, g.scalar(0, x))),
  LeakyRelu: unary((g, x, _, c) => step(g, x, g.scalar(float(c, 'alpha', 0.01), x))),
  Elu: unary((g, x, y, c) => step(g, x, g.add(y, g.scalar(float(c, 'alpha', 1), x)))),
  Softplus: unary((g, x) => g.sigmoid(x)),
  Softsign: unary((g, x) => g.reciprocal(g.square(g.add(g.abs(x), one(g, x))))),
  HardSigmoid: unary((g, _, y, c) => {
    const inside = g.op('And', [g.greater(y, g.scalar(0, y)), g.less(y, one(g, y))])
    return g.scale(g.cast(inside, y.dtype), float(c, 'alpha', 0.2))
  }),
  HardSwish: unary((g, x) => {
    const middle = g.add(g.scale(x, 1 / 3), g.scalar(0.5, x))
    return g.where(
      g.greater(x, g.scalar(3, x)),
      one(g, x),
      g.where(g.less(x, g.scalar(-3, x)), g.scalar(0, x), middle),
    )
  }),
  Mish: unary((g, x) => {
    const t = g.tanh(g.op('Softplus', [x]))
    return g.add(t, g.mul(x, g.mul(g.sigmoid(x), g.sub(one(g, x), g.square(t)))))
  }),
  PRelu: ({ x: [a, slope], dy, g }) => [
    () => g.where(g.less(a, g.scalar(0, a)), g.mul(dy, slope), dy),
    () => g.where(g.less(a, g.scalar(0, a)), g.mul(dy, a), g.scalar(0, dy)),
  ],
  Gelu: unary(geluSlope),
  'com.microsoft::QuickGelu': unary(quickGeluSlope),
  Clip: clip,
}
