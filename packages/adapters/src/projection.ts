import {
  type AttachContext,
  type Builder,
  GraftError,
  type Initialiser,
  kaimingUniform,
  normal,
  uniform,
  type Value,
  zeros,
} from '@graft-peft/core'
import type { BottleneckOptions } from './options.js'

/** One of a bottleneck's two projections. */
export interface Projection {
  side: 'down' | 'up'
  path: string
  from: number
  to: number
}

/** x ↦ x·Wᵀ + b, or Compacter's. */
export function projection(
  context: AttachContext,
  wanted: Projection,
  options: BottleneckOptions,
): (x: Value) => Value {
  if (options.phm_layer) return hypercomplex(context, wanted, options)
  const { g, param } = context
  const name = `${wanted.path}.adapter_${wanted.side}`
  const W = param(`${name}.weight`, {
    shape: [wanted.to, wanted.from],
    init: starts[options.init_weights](wanted.side),
  })
  const b = param(`${name}.bias`, { shape: [wanted.to], init: zeros })
  return (x) => g.add(g.linear(x, W), b)
}

/** A normal number that is drawn again where it is more than two deviations from zero. */
const truncated =
  (deviation: number): Initialiser =>
  (shape, random) =>
    normal(deviation)(shape, random).map(function again(v): number {
      return Math.abs(v) <= 2 * deviation ? v : again(deviation * random.normal())
    })
const starts: Record<string, (side: string) => Initialiser> = {
  bert: () => normal(0.02),
  mam_adapter: (side) => (side === 'down' ? kaimingUniform : zeros),
  houlsby: () => truncated(0.01),
}

/** H = Σᵢ Aᵢ ⊗ Bᵢ, small Aᵢ common to all layers, Bᵢ of low rank (Karimi Mahabadi et al., 2021, arXiv 2106.04647, equations 3 to 5). */
function hypercomplex(
  context: AttachContext,
  { side, path, from, to }: Projection,
  options: BottleneckOptions,
): (x: Value) => Value {
  const { g, param } = context
  const { phm_dim: n, phm_bias, shared_phm_rule, shared_W_phm } = options
  if (from % n !== 0 || to % n !== 0)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method bottleneck: phm_dim ${n} must divide the bottleneck's sizes, ${from} and ${to}, at ${path}.`,
    )
  const own = `${path}.adapter_${side}`
  const rules = ruleOf(context, shared_phm_rule ? 'shared_parameters' : own, options)
  const blocks = blocksOf(
    context,
    shared_W_phm ? `shared_parameters.W_${side}` : `${own}.W`,
    { from, to },
    options,
  )
  const H = sumOfProducts(g, rules, blocks, { n, from, to })
  const b = phm_bias ? param(`${own}.b`, { shape: [to], init: zeros }) : undefined
  return (x) => (b ? g.add(g.matMul(x, H), b) : g.matMul(x, H))
}

/** A of all i, [n, n, n]. */
function ruleOf({ g, param, buffer }: AttachContext, place: string, options: BottleneckOptions): Value {
  const { phm_dim: n, factorized_phm_rule, learn_phm, shared_phm_rule } = options
  const deviation = shared_phm_rule ? options.phm_init_range : 0.01
  const init = options.phm_c_init === 'normal' ? normal(deviation) : uniform(shared_phm_rule ? 1 : 0.01)
  const declare = (name: string, shape: number[]) =>
    learn_phm
      ? param(`${place}.${name}`, { shape, init })
      : buffer(`${place}.${name}`, { shape, init, stored: 'F32' })
  if (!factorized_phm_rule) return declare('phm_rule', [n, n, n])
  return g.matMul(declare('phm_rule_left', [n, n, 1]), declare('phm_rule_right', [n, 1, n]))
}

/** B of all i, [n, from/n, to/n]. */
function blocksOf(
  { g, param }: AttachContext,
  name: string,
  { from, to }: { from: number; to: number },
  { phm_dim: n, phm_rank: rank, factorized_phm_W }: BottleneckOptions,
): Value {
  const declare = (suffix: string, rows: number, columns: number) =>
    param(`${name}${suffix}`, { shape: [n, rows, columns], init: normal(Math.sqrt(2 / (rows + columns))) })
  if (!factorized_phm_W) return declare('', from / n, to / n)
  return g.matMul(declare('_left', from / n, rank), declare('_right', rank, to / n))
}

/** Σᵢ Aᵢ ⊗ Bᵢ as one product: [n²,n]·[n, rows·columns], its axes then put in order. */
function sumOfProducts(
  g: Builder,
  rules: Value,
  blocks: Value,
  { n, from, to }: { n: number; from: number; to: number },
): Value {
  const size = (from / n) * (to / n)
  const all = g.matMul(g.reshape(rules, [n, n * n]), g.reshape(blocks, [n, size]), { transA: true })
  return g.reshape(g.transpose(g.reshape(all, [n, n, from / n, to / n]), [0, 2, 1, 3]), [from, to])
}
