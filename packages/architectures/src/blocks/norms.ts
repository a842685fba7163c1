import type { Value } from '@graft-peft/core'
import type { Scope } from './scope.js'

/** A norm over the last axis, `width` wide, with the parameters of the module `name`. */
export type Norm = (at: Scope, name: string, x: Value, width: number) => Value

/** Root-mean-square norm (Zhang and Sennrich, 2019, arXiv 1910.07467). */
export const rms =
  (epsilon: number): Norm =>
  (at, name, x, width) =>
    at.rmsNorm(name, x, width, epsilon)

/** The same, scaled by 1 + w (Gemma). */
export const offsetRms =
  (epsilon: number): Norm =>
  (at, name, x, width) =>
    at.rmsNorm(name, x, width, epsilon, true)

/** Layer norm (Ba et al., 2016, arXiv 1607.06450). */
export const layerNorm =
  (epsilon: number, bias = true): Norm =>
  (at, name, x, width) =>
    at.layerNorm(name, x, width, epsilon, bias)

/** Layer norm scaled by 1 + w (Nemotron). */
export const offsetLayerNorm =
  (epsilon: number): Norm =>
  (at, name, x, width) => {
    const own = at.in(name)
    const [weight, bias] = [own.parameter('weight', [width]), own.parameter('bias', [width])]
    return own.run(() => {
      const scale = at.g.add(weight, at.g.constant('float32', [1], []))
      return at.g.op('LayerNormalization', [x, scale, bias], { axis: -1, epsilon, stash_type: 1 })
    })
  }

/** Layer norm without parameters (OLMo). */
export const bareLayerNorm =
  (epsilon: number): Norm =>
  (at, name, x, width) => {
    const own = at.in(name)
    return own.run(() => {
      const ones = at.g.constant('float32', new Array<number>(width).fill(1), [width])
      return at.g.op('LayerNormalization', [x, ones], { axis: -1, epsilon, stash_type: 1 })
    })
  }
