import { type Builder, type Settings, shapeOf, type Value } from '@graft-peft/core'
import type { Activation } from './activations.js'
import type { Scope } from './scope.js'

/** For each token the experts that it goes to, by number, and how much of each it takes: [tokens, chosen]. */
export interface Routes {
  numbers: Value
  weights: Value
}
/** Experts, of which each token goes to `chosen`. */
export interface Experts {
  count: number
  chosen: number
  /** tokens [tokens, width] → routes */
  route: (tokens: Value) => Routes
  /** what expert e makes of its rows [1, rows, width] */
  expert: (rows: Value, e: number) => Value
}

/**
 * A mixture of experts (Shazeer et al., 2017, arXiv 1701.06538) of [batch, sequence, width]. Tokens are sorted by their experts, so that
 * each expert computes its own rows and no others.
 */
export function mixture(at: Scope, x: Value, { count, chosen, route, expert }: Experts): Value {
  const { g } = at
  return at.run(() => {
    const width = shapeOf(x)[2]
    const tokens = g.reshape(x, [-1, width])
    const { numbers, weights } = route(tokens)
    const all = g.reshape(numbers, [-1])
    const order = sorted(g, all)
    const rows = g.unsqueeze(g.gather(tokens, g.div(order, g.int(chosen))), [0])
    const parts = g.ops('Split', [rows, occurrences(g, all, count)], { axis: 1 }, count)
    const made = g.squeeze(g.concat(parts.map(expert), 1), [0])
    const perToken = g.reshape(g.gather(made, sorted(g, order)), [shapeOf(tokens)[0], chosen, width])
    const mixed = g.reduceSum(g.mul(perToken, g.unsqueeze(weights, [-1])), [1], false)
    return g.reshape(mixed, shapeOf(x))
  })
}
/** The positions of a vector's numbers from least to greatest; of equal ones the first comes first. */
const sorted = (g: Builder, numbers: Value): Value =>
  g.ops('TopK', [numbers, g.op('Shape', [numbers])], { axis: 0, largest: 0, sorted: 1 }, 2)[1]
/** How often each of 0 … count − 1 occurs. */
function occurrences(g: Builder, numbers: Value, count: number): Value {
  const each = g.ints(Array.from({ length: count }, (_, e) => e))
  return g.reduceSum(g.cast(g.equal(g.unsqueeze(numbers, [1]), each), 'int64'), [0], false)
}

interface Chosen {
  count: number
  chosen: number
  /** the router's module */
  router?: string
}
const logitsOf = (at: Scope, tokens: Value, { count, router = 'gate' }: Chosen): Value => {
  const weight = at.in(router).matrix('weight', [count, shapeOf(tokens)[1] as number])
  return at.g.squeeze(at.g.linear(at.g.unsqueeze(tokens, [0]), weight), [0])
}
export const greatest = (g: Builder, x: Value, k: number): Value[] =>
  g.ops('TopK', [x, g.ints([k])], { axis: -1, largest: 1, sorted: 1 }, 2)
const shares = (g: Builder, weights: Value): Value => g.div(weights, g.reduceSum(weights, [-1]))

/** The greatest of a softmax over all experts, as they are or as shares of their sum (Mixtral, Qwen). */
export const softmaxRoutes =
  (at: Scope, shape: Chosen & { normalised: boolean }) =>
  (tokens: Value): Routes => {
    const { g } = at
    const [weights, numbers] = greatest(g, g.softmax(logitsOf(at, tokens, shape)), shape.chosen)
    return { numbers, weights: shape.normalised ? shares(g, weights) : weights }
  }

/** A softmax over the greatest logits (Granite, gpt-oss). */
export const chosenRoutes =
  (at: Scope, shape: Chosen & { biased?: boolean }) =>
  (tokens: Value): Routes => {
    const { g } = at
    const plain = logitsOf(at, tokens, shape)
    const bias = shape.biased && at.in(shape.router ?? 'gate').parameter('bias', [shape.count])
    const [logits, numbers] = greatest(g, bias ? g.add(plain, bias) : plain, shape.chosen)
    return { numbers, weights: g.softmax(logits) }
  }

/** Chosen by scores with a correction that the weights don't have: by a softmax (ERNIE 4.5). */
export const correctedRoutes =
  (at: Scope, shape: Chosen & { least: number; correction: Value }) =>
  (tokens: Value): Routes => {
    const { g } = at
    const scores = g.softmax(logitsOf(at, tokens, shape))
    const [, numbers] = greatest(g, g.add(scores, shape.correction), shape.chosen)
    const weights = g.op('GatherElements', [scores, numbers], { axis: 1 })
    const sum = g.op('Max', [g.reduceSum(weights, [-1]), g.scalar(shape.least)])
    return { numbers, weights: g.div(weights, sum) }
  }

/** What DeepSeek V3's routing (arXiv 2412.19437) reads of config.json. */
export interface Groups {
  groups: number
  chosenGroups: number
  normalised: boolean
  factor: number
}
export const groupsOf = (config: Settings): Groups => ({
  groups: config.count('n_group', 1),
  chosenGroups: config.count('topk_group', 1),
  normalised: config.flag('norm_topk_prob', true),
  factor: config.number('routed_scaling_factor', 1),
})
/** Chosen by sigmoids with a correction, out of the groups of experts whose two greatest sum to most. */
export const groupedRoutes =
  (at: Scope, shape: Chosen & Groups) =>
  (tokens: Value): Routes => {
    const { g } = at
    const { count, groups, chosenGroups, normalised, factor } = shape
    const scores = g.sigmoid(logitsOf(at, tokens, shape))
    const corrected = g.add(scores, at.in('gate').parameter('e_score_correction_bias', [count]))
    const [size, all] = [Math.floor(count / groups), shapeOf(tokens)[0]]
    const perGroup = g.reshape(corrected, [all, groups, size])
    const [, numbers] = greatest(
      g,
      groups === 1 ? corrected : g.reshape(within(g, perGroup, chosenGroups), [all, count]),
      shape.chosen,
    )
    const own = g.op('GatherElements', [scores, numbers], { axis: 1 })
    const sum = g.add(g.reduceSum(own, [-1]), g.scalar(1e-20))
    return { numbers, weights: g.scale(normalised ? g.div(own, sum) : own, factor) }
  }
/** Scores [tokens, groups, size], those outside of the chosen groups −∞. */
function within(g: Builder, scores: Value, chosen: number): Value {
  const [, groups] = shapeOf(scores)
  const [two] = greatest(g, scores, 2)
  const [, kept] = greatest(g, g.reduceSum(two, [-1], false), chosen)
  const each = g.ints(Array.from({ length: Number(groups) }, (_, i) => i))
  const counts = g.reduceSum(g.cast(g.equal(g.unsqueeze(kept, [2]), each), 'int64'), [1], false)
  return g.where(g.unsqueeze(g.greater(counts, g.int(0)), [-1]), scores, g.scalar(Number.NEGATIVE_INFINITY))
}

/** Sizes of experts that are gated feed-forward parts. */
export interface ExpertSizes {
  count: number
  width: number
  inner: number
  act: Activation
}
/** down(act(gate(x)) · up(x)) for expert e, its weights stacked with the others' or under its own name. */
export const gatedExpert =
  (at: Scope, { count, width, inner, act }: ExpertSizes) =>
  (rows: Value, e: number): Value => {
    const { g } = at
    const own = at.in(e)
    const stacked = at.has('gate_up_proj')
    const weight = (name: string, out: number, into: number) =>
      stacked ? at.matrix(name, [out, into], { count, part: e }) : own.in(name).matrix('weight', [out, into])
    const [gate, up] = stacked
      ? g.split(g.linear(rows, weight('gate_up_proj', 2 * inner, width)), [inner, inner], -1)
      : ['gate_proj', 'up_proj'].map((name) => g.linear(rows, weight(name, inner, width)))
    return g.linear(g.mul(act(g, gate), up), weight('down_proj', width, inner))
  }
