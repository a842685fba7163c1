/**
 * Symbolic dimensions: a dimension is a number, or a polynomial over named symbols with integer coefficients, kept as its
 * canonical text ("batch", "2*batch*sequence+1"). Equal text means equal size, so shapes compare as strings do.
 * What a polynomial can't say (a quotient with a remainder, a maximum) becomes a new symbol spelt by its own formula.
 */
export type Dim = number | string
/** A tensor's sizes, outermost first; [] is a scalar. */
export type Shape = readonly Dim[]

/** monomial ("batch*sequence", "" for the constant) → coefficient */
type Polynomial = ReadonlyMap<string, number>

const parsed = new Map<string, Polynomial>()

function polynomial(dim: Dim): Polynomial {
  if (typeof dim === 'number') return new Map(dim === 0 ? [] : [['', dim]])
  return parsed.get(dim) ?? new Map([[dim, 1]])
}

function dimension(p: Map<string, number>): Dim {
  const terms = [...p].filter(([, c]) => c !== 0).sort(([a], [b]) => (a < b ? -1 : 1))
  if (terms.length === 0) return 0
  if (terms.length === 1 && terms[0][0] === '') return terms[0][1]
  const text = terms.map(([m, c]) => (m === '' ? `${c}` : c === 1 ? m : `${c}*${m}`)).join('+')
  parsed.set(text, new Map(terms))
  return text
}

/** Monomials multiply by joining their factors; factors that are formulas stand in brackets and never contain a bare `*`. */
function multiplyMonomials(a: string, b: string): string {
  if (a === '') return b
  if (b === '') return a
  return [...factors(a), ...factors(b)].sort().join('*')
}

function factors(monomial: string): string[] {
  if (monomial === '') return []
  if (!monomial.includes('[')) return monomial.split('*')
  const found: string[] = []
  let depth = 0
  let current = ''
  for (const c of monomial) {
    if (c === '[') depth++
    if (c === ']') depth--
    if (c === '*' && depth === 0) {
      found.push(current)
      current = ''
    } else current += c
  }
  return [...found, current]
}

/** The sum of two sizes, symbolic where one is. */
export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b
  const sum = new Map(polynomial(a))
  for (const [m, c] of polynomial(b)) sum.set(m, (sum.get(m) ?? 0) + c)
  return dimension(sum)
}

export function multiplyDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b
  const product = new Map<string, number>()
  for (const [m, c] of polynomial(a))
    for (const [n, d] of polynomial(b)) {
      const key = multiplyMonomials(m, n)
      product.set(key, (product.get(key) ?? 0) + c * d)
    }
  return dimension(product)
}

export const subtractDims = (a: Dim, b: Dim): Dim => addDims(a, multiplyDims(b, -1))
export const productOf = (dims: Shape): Dim => dims.reduce<Dim>(multiplyDims, 1)

/** a / b where b divides a exactly as a polynomial (b a monomial); undefined otherwise. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  if (a === b) return 1
  const divisor = [...polynomial(b)]
  if (divisor.length !== 1) return undefined
  const [[m, c]] = divisor
  const quotient = new Map<string, number>()
  for (const [n, d] of polynomial(a)) {
    const rest = factors(n)
    for (const f of factors(m)) {
      const at = rest.indexOf(f)
      if (at < 0) return undefined
      rest.splice(at, 1)
    }
    if (d % c !== 0) return undefined
    quotient.set(rest.join('*'), d / c)
  }
  return dimension(quotient)
}

/** Integer division, rounding down, as Shape arithmetic in exported graphs means it. */
export function floorDivide(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return Math.floor(a / b)
  return divideExactly(a, b) ?? formula(`${a}//${b}`)
}

/** A symbol for what polynomials can't express; the same formula is always the same symbol. */
export const formula = (text: string): Dim => `[${text}]`

/** The dimension two broadcast operands agree on. Differing symbols can't be told apart before run time: see `ambiguous`. */
export function broadcastDims(a: Dim, b: Dim): Dim | undefined {
  if (a === b || b === 1) return a
  if (a === 1) return b
  if (typeof a === 'number' && typeof b === 'number') return undefined
  if (typeof a === 'number') return a
  if (typeof b === 'number') return b
  return formula(a < b ? `max(${a},${b})` : `max(${b},${a})`)
}

export function broadcastShapes(a: Shape, b: Shape): Dim[] | undefined {
  const rank = Math.max(a.length, b.length)
  const result: Dim[] = []
  for (let i = 0; i < rank; i++) {
    const dim = broadcastDims(a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1)
    if (dim === undefined) return undefined
    result.push(dim)
  }
  return result
}

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i])
export const isStatic = (shape: Shape): shape is readonly number[] =>
  shape.every((d) => typeof d === 'number')
export const printShape = (shape: Shape): string => `[${shape.join(', ')}]`

/** The terms of a dimension, for whoever turns it into run-time arithmetic: coefficient and factors. */
export function termsOf(dim: Dim): { coefficient: number; factors: string[] }[] {
  return [...polynomial(dim)].map(([m, coefficient]) => ({ coefficient, factors: factors(m) }))
}
