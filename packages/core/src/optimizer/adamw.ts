import type { BuiltInOptimizer, OptimizerOptions, Vectors } from './optimizer.js'

/** torch.optim.AdamW's own settings, but for the decay, which is none. */
export const adamwDefaults: OptimizerOptions = {
  name: 'adamw',
  weight_decay: 0,
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  momentum: 0,
}

/** AdamW (Loshchilov and Hutter, 2019), with torch.optim.AdamW's order of operations:
 *  p ← p·(1 − lr·λ) − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε). */
export function adamw(options: OptimizerOptions = adamwDefaults): BuiltInOptimizer {
  const {
    betas: [beta1, beta2],
    epsilon,
    weight_decay,
  } = options
  return {
    options,
    state: ['first_moment', 'second_moment'],
    scalars: (t, rate) => [rate * weight_decay, rate / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t)],
    update(g, { parameters, gradient, state: [m, v], scalars: [decay, stepSize, correction], rateScale }) {
      const scaled = (rate: typeof decay) => (rateScale ? g.mul(rate, rateScale) : rate)
      const first = g.add(g.scale(m, beta1), g.scale(gradient, 1 - beta1))
      const second = g.add(g.scale(v, beta2), g.scale(g.square(gradient), 1 - beta2))
      const denominator = g.add(g.mul(g.sqrt(second), correction), g.scalar(epsilon))
      const decayed = weight_decay === 0 ? parameters : g.mul(parameters, g.sub(g.scalar(1), scaled(decay)))
      return {
        parameters: g.sub(decayed, g.mul(scaled(stepSize), g.div(first, denominator))),
        state: [first, second],
      }
    },
    updateInPlace(vectors, [decay, stepSize, correction], { factor, rateScale }) {
      moveInPlace(vectors, {
        beta1,
        beta2,
        kept: 1 - decay * rateScale,
        rate: stepSize * rateScale,
        correction,
        epsilon,
        factor,
      })
    },
  }
}

/** A function of its own with everything in locals: the loop over a hundred million elements is worth a tight one. */
function moveInPlace(
  { parameters: p, gradient, state: [m, v] }: Vectors,
  numbers: Record<'beta1' | 'beta2' | 'kept' | 'rate' | 'correction' | 'epsilon' | 'factor', number>,
): void {
  const { beta1, beta2, kept, rate, correction, epsilon, factor } = numbers
  const [gain1, gain2] = [1 - beta1, 1 - beta2]
  for (let i = 0; i < p.length; i++) {
    const d = gradient[i] * factor
    const first = beta1 * m[i] + gain1 * d
    const second = beta2 * v[i] + gain2 * d * d
    m[i] = first
    v[i] = second
    p[i] = kept * p[i] - (rate * first) / (Math.sqrt(second) * correction + epsilon)
  }
}
