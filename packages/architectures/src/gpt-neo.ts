import { type ArchitectureContext, defineArchitecture, type Settings, type Value } from '@graft-peft/core'
import { attend, joinHeads, keysFirst, splitHeads } from './blocks/attention.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { gptDecoder } from './blocks/gpt-decoder.js'
import { decoderTasks, summaryKeys } from './blocks/heads.js'
import { attentionBias } from './blocks/masks.js'
import type { Scope } from './blocks/scope.js'

/** GPT-Neo (Black et al., 2021), TinyStories: every other layer through a window, scores not scaled. */
export const gptNeo = defineArchitecture({
  name: 'gpt-neo',
  modelTypes: ['gpt_neo'],
  tasks: decoderTasks,
  prefix: 'transformer',
  ignores: [...summaryKeys, 'resid_dropout', 'attention_layers'],
  unused: (tensor) => /attention\.(masked_)?bias$/.test(tensor),
  build,
})

/** "global" or "local" per layer: attention_types lists patterns and how often each is repeated. */
function kindsOf(config: Settings): string[] {
  const types = config.lists('attention_types') ?? [[['global', 'local'], 12]]
  const kinds = types.flatMap((entry) => {
    const [pattern, times] = Array.isArray(entry) ? entry : []
    if (!Array.isArray(pattern) || !Number.isSafeInteger(times) || Number(times) > 1000)
      throw config.wrong('attention_types', 'a list of [pattern, times]', entry)
    return Array.from({ length: Number(times) }, () => pattern.map(String)).flat()
  })
  const count = config.count(['num_layers', 'num_hidden_layers'])
  if (kinds.length !== count || kinds.some((k) => k !== 'global' && k !== 'local'))
    throw config.wrong('attention_types', `global or local for each of ${count} layers`, types)
  return kinds
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const activation = named(config, 'activation_function', 'gelu_new')
  const kinds = kindsOf(config)
  const window = config.count('window_size', 256)
  return gptDecoder(c, ({ width, heads, headWidth, inputs, cache }) => {
    const global = attentionBias(g, inputs, { causal: true })
    const local = attentionBias(g, inputs, { causal: true, window })
    const inner = config.count('intermediate_size', 4 * width)
    const attention = (outer: Scope, i: number, x: Value): Value => {
      const at = outer.in('attention')
      const projected = keysFirst((name) => at.linear(name, x, width, width, false))
      const mixed = at.run(() => {
        const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, headWidth))
        const bias = kinds[i] === 'local' ? local : global
        return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias, scale: 1 }))
      })
      return at.linear('out_proj', mixed, width, width)
    }
    const feedForward = (at: Scope, x: Value) =>
      gatedFeedForward(at, { up: 'c_fc', down: 'c_proj', bias: true, activation }, width, inner, x)
    return { attention, feedForward }
  })
}
