import { type AttachContext, type Builder, shapeOf, type Value } from '@graft-peft/core'

/** x [..., blocks·b] with each block of its last axis multiplied by that block's matrix [blocks, b, b]. */
export function rotateBlocks(g: Builder, x: Value, rotations: Value): Value {
  const [blocks, b] = rotations.shape as number[]
  const rows = g.reshape(x, [-1, blocks, b])
  const turned = g.matMul(g.transpose(rows, [1, 0, 2]), rotations)
  return g.reshape(g.transpose(turned, [1, 0, 2]), shapeOf(x))
}

/**
 * (I − S)(I + S)⁻¹ for skew matrices S [blocks, b, b]. The inverse is Newton's iteration X ← X(2I − MX), M = I + S, from
 * Mᵀ/(1 + ‖S‖²), which converges for every skew S. Only its last round carries a gradient: at the fixed point that is exact.
 */
export function cayley(g: Builder, skew: Value): Value {
  const eye = g.identity(skew.shape?.at(-1) as number)
  const m = g.add(eye, skew)
  const [fixed, twice] = [g.stopGradient(m), g.scale(eye, 2)]
  const norm = g.reduceSum(g.square(g.stopGradient(skew)), [1, 2])
  let inverse = g.div(g.swapLast(fixed), g.add(g.scalar(1), norm))
  for (let i = 0; i < rounds; i++) inverse = g.matMul(inverse, g.sub(twice, g.matMul(fixed, inverse)))
  const last = g.stopGradient(inverse)
  return g.matMul(g.sub(eye, skew), g.matMul(last, g.sub(twice, g.matMul(m, last))))
}
/** Enough for ‖S‖ up to 30 in float32. */
const rounds = 14

/** Skew matrices [blocks, b, b] from their upper triangles [blocks, b(b−1)/2]. */
export function skewOf(g: Builder, angles: Value, b: number): Value {
  const position = (i: number, j: number) => i * b - (i * (i + 1)) / 2 + j - i - 1
  const entries = Array.from({ length: b * b }, (_, k) => [Math.floor(k / b), k % b])
  const picked = g.gather(
    angles,
    g.ints(entries.map(([i, j]) => (i === j ? 0 : position(Math.min(i, j), Math.max(i, j))))),
    1,
  )
  const signs = g.constant(
    'float32',
    entries.map(([i, j]) => Math.sign(j - i)),
  )
  return g.reshape(g.mul(picked, signs), [angles.shape?.[0] as number, b, b])
}

/** The Cayley transform cut off: I + 2Q + 2Q² + … + Qᵗ⁻¹ (HF PEFT's _cayley_batch in OFT, OrthLayer in PSOFT). */
export function neumann(g: Builder, q: Value, terms: number): Value {
  let sum = g.identity(q.shape?.at(-1) as number)
  if (terms === 1) return g.add(sum, g.scale(q, 0))
  sum = g.add(sum, g.scale(q, 2))
  if (terms === 2) return sum
  let power = g.matMul(q, q)
  sum = g.add(sum, g.scale(power, 2))
  for (let i = 3; i < terms - 1; i++) {
    power = g.matMul(power, q)
    sum = g.add(sum, g.scale(power, 2))
  }
  return g.add(sum, g.matMul(power, q))
}

/** Rotations [blocks, b, b], so many of them, drawn anew each step, the identity while training (multiplicative dropout). `where` is 0 or 1, whether this is
 *  done at all. */
export function someIdle(
  { g, noise }: AttachContext,
  rotations: Value,
  count: number,
  name: string,
  where = g.scalar(1),
): Value {
  const [blocks, b] = rotations.shape as number[]
  if (count === 0) return rotations
  const drawn = noise(g.zeros([blocks, 1]), `${name}.idle`)
  const [greatest] = g.ops('TopK', [drawn, g.ints([count])], { axis: 0 }, 2)
  const idle = g.op('And', [
    g.op('GreaterOrEqual', [drawn, g.slice(greatest, count - 1, count, 0)]),
    // Out of training there is no noise.
    g.op('Not', [g.op('Equal', [drawn, g.scalar(0)])]),
  ])
  const mask = g.mul(g.reshape(g.cast(idle, 'float32'), [blocks, 1, 1]), where)
  return g.add(rotations, g.mul(mask, g.sub(g.identity(b), rotations)))
}
