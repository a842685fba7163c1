import type { BuiltInOptimizer, OptimizerOptions } from './optimizer.js'

/** Stochastic gradient descent with momentum and coupled weight decay, as torch.optim.SGD:
 *  b ← μ·b + (g + λ·p); p ← p − lr·b. */
export function sgd(options: OptimizerOptions): BuiltInOptimizer {
  const { momentum, weight_decay } = options
  return {
    options,
    state: momentum === 0 ? [] : ['momentum'],
    scalars: (_, rate) => [rate],
    update(g, { parameters, gradient, state: [buffer], scalars: [rate], rateScale }) {
      const decayed = weight_decay === 0 ? gradient : g.add(gradient, g.scale(parameters, weight_decay))
      const direction = buffer ? g.add(g.scale(buffer, momentum), decayed) : decayed
      const step = rateScale ? g.mul(rate, rateScale) : rate
      return { parameters: g.sub(parameters, g.mul(step, direction)), state: buffer ? [direction] : [] }
    },
    updateInPlace({ parameters, gradient, state: [buffer] }, [rate], { factor, rateScale }) {
      for (let i = 0; i < parameters.length; i++) {
        const decayed = gradient[i] * factor + weight_decay * parameters[i]
        const direction = buffer ? momentum * buffer[i] + decayed : decayed
        if (buffer) buffer[i] = direction
        parameters[i] -= rate * rateScale * direction
      }
    },
  }
}
