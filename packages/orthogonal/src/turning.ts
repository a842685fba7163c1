import {
  type AttachContext,
  type Builder,
  type Initialiser,
  normal,
  ones,
  type Value,
  zeros,
} from '@graft-peft/core'
import { cayley, neumann, skewOf } from './rotation.js'

/** What PSOFT trains of a layer: the options of HF PEFT's OrthLayer. */
export interface TurningOptions {
  r: number
  psoft_orth: boolean
  psoft_mag_a: boolean
  psoft_mag_b: boolean
  use_cayley_neumann: boolean
  num_cayley_neumann_terms: number
  cayley_neumann_eps: number | null
  init_weights: boolean
}

/** R [r, r]: orthogonal by Cayley's transform, or free; rows scaled by one vector, columns by another. */
export function turning({ g, param }: AttachContext, path: string, options: TurningOptions): Value {
  const { r, psoft_orth, psoft_mag_a, psoft_mag_b, init_weights } = options
  const own = (name: string, shape: number[], init: Initialiser) =>
    param(`${path}.psoft_R.${name}`, { shape, init })
  const noisy: Initialiser = (shape, random) =>
    normal(0.1)(shape, random).map((v, k) => v + Number(k % (r + 1) === 0))
  const eye: Initialiser = () => Float32Array.from({ length: r * r }, (_, k) => Number(k % (r + 1) === 0))
  const weight = psoft_orth
    ? own('weight', [(r * (r - 1)) / 2], init_weights ? zeros : normal(0.1))
    : own('weight', [r, r], init_weights ? eye : noisy)
  let R = psoft_orth ? orthogonal(g, weight, options) : weight
  if (psoft_mag_b) R = g.mul(R, g.reshape(own('vector_b', [r], ones), [r, 1]))
  return psoft_mag_a ? g.mul(R, own('vector_a', [r], ones)) : R
}

/** (I + Q)(I − Q)⁻¹ of the skew Q with this upper triangle, or the first terms of its series. */
function orthogonal(
  g: Builder,
  angles: Value,
  { r, use_cayley_neumann, num_cayley_neumann_terms, cayley_neumann_eps: eps }: TurningOptions,
): Value {
  const Q = skewOf(g, g.reshape(angles, [1, -1]), r)
  if (!use_cayley_neumann) return g.reshape(cayley(g, g.neg(Q)), [r, r])
  const within = (most: number) => {
    const norm = g.sqrt(g.op('Max', [g.sumAll(g.square(Q)), g.scalar(most * most)]))
    return g.mul(Q, g.div(g.scalar(most), norm))
  }
  return g.reshape(neumann(g, eps === null ? Q : within(eps), num_cayley_neumann_terms), [r, r])
}
