import type { Optimizer, OptimizerOptions } from './optimizer.js'

/** AdamW (Loshchilov and Hutter, 2019), with torch.optim.AdamW's order of operations:
 *  p ← p·(1 − lr·λ) − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε). */
export function adamw({ betas: [beta1, beta2], epsilon, weight_decay }: OptimizerOptions): Optimizer {
  return {
    name: 'adamw',
    state: ['first_moment', 'second_moment'],
    scalars: (t, rate) => [rate * weight_decay, rate / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t)],
    update(g, { parameters, gradient, state: [m, v], scalars: [decay, stepSize, correction], rateScale }) {
      const scaled = (rate: typeof decay) => (rateScale ? g.mul(rate, rateScale) : rate)
      const first = g.add(g.scale(m, beta1), g.scale(gradient, 1 - beta1))
      const second = g.add(g.scale(v, beta2), g.scale(g.square(gradient), 1 - beta2))
      const denominator = g.add(g.mul(g.sqrt(second), correction), g.scalar(epsilon))
      const decayed = weight_decay === 0 ? parameters : g.mul(parameters, g.sub(g.scalar(1), scaled(decay)))
      return { parameters: g.sub(decayed, g.mul(scaled(stepSize), g.div(first, denominator))), state: [first, second] }
    },
  }
}
