import type { ArchitectureContext, Settings, Value } from '@graft-peft/core'
import { activation } from './activations.js'
import { type Experts, gatedExpert, mixture, type Routes } from './experts.js'
import { gatedFeedForward } from './feed-forward.js'
import type { GatedDecoder } from './gated-decoder.js'
import type { Scope } from './scope.js'

interface Gated {
  count: number
  chosen: number
  inner: number
  route: (at: Scope, shape: { count: number; chosen: number }) => (tokens: Value) => Routes
}
/** The mixture under `at`, of experts that are gated feed-forward parts. */
export function gatedMixture({ config }: ArchitectureContext, at: Scope, x: Value, gated: Gated): Value {
  const [width, act] = [config.count('hidden_size'), activation(config, 'hidden_act', 'silu')]
  const { count, chosen, inner, route } = gated
  const expert = gatedExpert(at.in('experts'), { count, width, inner, act })
  const experts: Experts = { count, chosen, route: route(at, { count, chosen }), expert }
  return mixture(at, x, experts)
}
/** How many experts there are, how many a token goes to, and how wide each is. */
export const sizes = (config: Settings, count: string | string[], inner: string) => ({
  count: config.count(count),
  chosen: config.count('num_experts_per_tok'),
  inner: config.count(inner),
})
/** An expert that every token goes to. */
export const shared = (at: Scope, like: GatedDecoder, width: number, inner: number, x: Value): Value =>
  gatedFeedForward(at, like.feedForward, width, inner, x)
