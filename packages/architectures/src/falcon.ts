import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { attend, Cache, joinHeads } from './blocks/attention.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** Falcon (Almazrouei et al., 2023, arXiv 2311.16867): shared keys and values, attention and feed-forward side by side. */
export const falcon = defineArchitecture({
  name: 'falcon',
  modelTypes: ['falcon'],
  tasks: decoderTasks,
  prefix: 'transformer',
  ignores: ['apply_residual_connection_post_layernorm', 'n_inner'],
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const width = config.count(['hidden_size', 'n_embed'])
  const heads = config.count(['num_attention_heads', 'n_head'])
  const layers = config.count(['num_hidden_layers', 'n_layer'])
  const [rows, epsilon] = [config.count('vocab_size'), config.number('layer_norm_epsilon', 1e-5)]
  const headWidth = Math.floor(width / heads)
  const [grouped, shares, side, bias] = [
    config.flag('new_decoder_architecture', false),
    config.flag('multi_query', true),
    config.flag('parallel_attn', true),
    config.flag('bias', false),
  ]
  if (config.flag('alibi', false))
    throw config.wrong('alibi', 'false: positions by distance are not built here', true)
  const stated = config.optionalCount('num_kv_heads') ?? heads
  const keyHeads = grouped ? stated : shares ? 1 : stated
  if (heads % keyHeads !== 0) throw config.wrong('num_kv_heads', `a divisor of ${heads}`, keyHeads)
  const norms = config.optionalCount('num_ln_in_parallel_attn') ?? (grouped ? 2 : 1)
  const inner = config.count('ffn_hidden_size', 4 * width)
  const activation = named(config, 'activation', 'gelu')
  const feedForward = { up: 'dense_h_to_4h', down: 'dense_4h_to_h', bias, activation }
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const seen = attentionBias(g, inputs, { causal: true })
  const turns = rope(g, config, inputs, { headWidth })
  const cache = new Cache(c)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const fused = at.linear('query_key_value', x, width, (heads + 2 * keyHeads) * headWidth, bias)
    const mixed = at.run(() => {
      // Each group's queries lie before its key and its value.
      const group = heads / keyHeads
      const perGroup = g.op('Reshape', [fused, g.ints([0, 0, keyHeads, (group + 2) * headWidth])])
      const [q, k, v] = g.split(perGroup, [group * headWidth, headWidth, headWidth], -1)
      const split = (y: Value, count: number) =>
        g.transpose(g.op('Reshape', [y, g.ints([0, 0, count, headWidth])]), [0, 2, 1, 3])
      const query = rotate(g, split(q, heads), inputs, turns, headWidth, heads)
      const key = rotate(g, split(k, keyHeads), inputs, turns, headWidth, keyHeads)
      const now = { key, value: split(v, keyHeads) }
      return joinHeads(g, attend(g, { query, ...cache.extend(i, now) }, { bias: seen }))
    })
    return at.linear('dense', mixed, width, width, bias)
  }
  let hidden = model.embedding('word_embeddings', inputs.ids, rows, width)
  for (let i = 0; i < layers; i++) {
    const at = model.in('h').in(i)
    const x = hidden
    const norm = (name: string, y: Value) => at.layerNorm(name, y, width, epsilon)
    const two = side && norms === 2
    const read = norm(two ? 'ln_attn' : 'input_layernorm', x)
    const attended = attention(at.in('self_attention'), i, read)
    const after = at.run(() => g.add(attended, x))
    const next = two ? norm('ln_mlp', x) : side ? read : norm('post_attention_layernorm', after)
    const fed = gatedFeedForward(at.in('mlp'), feedForward, width, inner, next)
    hidden = at.run(() => g.add(fed, after))
  }
  const last = model.layerNorm('ln_f', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('word_embeddings').path : undefined
  const language = () => vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, tied }, last)
  return { ...decoderOutputs(c, root, last, inputs.mask, language, 'classifier'), ...cache.outputs }
}
