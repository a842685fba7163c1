import type { Optimizer, OptimizerOptions } from './optimizer.js'

/** Stochastic gradient descent with momentum and coupled weight decay, as torch.optim.SGD:
 *  b ← μ·b + (g + λ·p); p ← p − lr·b. */
export function sgd({ momentum, weight_decay }: OptimizerOptions): Optimizer {
  return {
    name: 'sgd',
    state: momentum === 0 ? [] : ['momentum'],
    scalars: (_, rate) => [rate],
    update(g, { parameters, gradient, state: [buffer], scalars: [rate], rateScale }) {
      const decayed = weight_decay === 0 ? gradient : g.add(gradient, g.scale(parameters, weight_decay))
      const direction = buffer ? g.add(g.scale(buffer, momentum), decayed) : decayed
      const step = rateScale ? g.mul(rate, rateScale) : rate
      return { parameters: g.sub(parameters, g.mul(step, direction)), state: buffer ? [direction] : [] }
    },
  }
}
