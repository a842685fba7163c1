import { GraftError } from '../errors.js'
import { Random } from '../numbers/random.js'

/** How the next token is drawn. */
export interface SamplingOptions {
  /** 0: always the most likely token */
  temperature: number
  /** only the k most likely tokens; 0: all */
  topK: number
  /** only the most likely tokens that together have this probability; 1: all */
  topP: number
  seed: number
}
export const greedy: SamplingOptions = { temperature: 0, topK: 0, topP: 1, seed: 0 }

/** Chooses tokens from logits. A function of its options and the logits alone. */
export class Sampler {
  private readonly random: Random
  constructor(private readonly options: SamplingOptions) {
    const { temperature, topK, topP } = options
    if (!(temperature >= 0)) throw bad('temperature', '0 or more', temperature)
    if (!(topP > 0 && topP <= 1)) throw bad('top-p', 'above 0, at most 1', topP)
    if (!Number.isInteger(topK) || topK < 0) throw bad('top-k', 'a whole number, 0 for all', topK)
    this.random = new Random(options.seed, 'sampling')
  }

  next(logits: Float32Array): number {
    const { temperature, topK, topP } = this.options
    if (temperature === 0) return greatest(logits)
    const count = topK === 0 ? logits.length : Math.min(topK, logits.length)
    const order = Array.from(logits.keys())
      .sort((a, b) => logits[b] - logits[a])
      .slice(0, count)
    const weights = order.map((i) => Math.exp((logits[i] - logits[order[0]]) / temperature))
    const total = weights.reduce((a, b) => a + b, 0)
    let kept = 0
    for (let sum = 0; kept < weights.length && sum < topP * total; kept++) sum += weights[kept]
    let left = this.random.unit() * weights.slice(0, kept).reduce((a, b) => a + b, 0)
    for (let k = 0; k < kept; k++) {
      left -= weights[k]
      if (left < 0) return order[k]
    }
    return order[kept - 1]
  }
}
const bad = (name: string, expected: string, got: number) =>
  new GraftError('BAD_SAMPLING', `${name} should be ${expected}, got ${got}.`)

function greatest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  return best
}
