import { Random } from '../numbers/random.js'

export interface Dense {
  values: Float64Array
  weight: number
  stream: string
}

export function blend(parts: readonly Dense[], { mode, density, seed }: CombineOptions): Float64Array {
  const thinned = parts.map((p) => ({
    ...p,
    values:
      mode === 'ties' ? trimmed(p.values, density) : dropped(p.values, density, new Random(seed, p.stream)),
  }))
  return Float64Array.from({ length: parts[0].values.length }, (_, i) =>
    mode === 'dare'
      ? thinned.reduce((total, { values, weight }) => total + weight * values[i], 0)
      : agreeing(thinned, i),
  )
}

/** The mean of the weighted entries that have the elected sign (TIES' disjoint merge). Elected before weighting, as in HF PEFT. */
function agreeing(parts: readonly Dense[], i: number): number {
  const sign = parts.reduce((total, { values }) => total + values[i], 0) >= 0 ? 1 : -1
  const own = parts.filter(({ values }) => Math.sign(values[i]) === sign)
  return own.reduce((total, { values, weight }) => total + weight * values[i], 0) / Math.max(1, own.length)
}

/** Only the greatest entries by size. */
function trimmed(values: Float64Array, density: number): Float64Array {
  const sizes = values.map(Math.abs).sort()
  const least = sizes[Math.min(sizes.length - 1, Math.floor((1 - density) * sizes.length))]
  return values.map((v) => (Math.abs(v) >= least ? v : 0))
}

/** Entries drawn at random, scaled up so that the expectation stays. */
const dropped = (values: Float64Array, density: number, random: Random): Float64Array =>
  values.map((v) => (random.unit() < density ? v / density : 0))

/**
 * How adapters are added up: `sum` exactly, as one product of joined factors; the others on whole updates.
 * ties: Yadav et al., 2023, arXiv 2306.01708; dare: Yu et al., 2023, arXiv 2311.03099; dare-ties: both.
 */
export const combineModes = ['sum', 'ties', 'dare', 'dare-ties'] as const

/** How adapters are added up. */
export type CombineMode = (typeof combineModes)[number]

/** How adapters are added up, and to what rank. */
export interface CombineOptions {
  mode: CombineMode
  /** of the result; `sum` keeps all ranks when left out, the others take the sum of the parts' */
  rank?: number
  /** share of an update's entries that ties and dare keep */
  density: number
  /** of dare's drawing */
  seed: number
  /** base model, where adapters don't know it */
  model?: string
}
