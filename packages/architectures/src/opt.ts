import { type ArchitectureContext, defineArchitecture, GraftError, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, Cache, joinHeads, keysFirst, splitHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** The first two rows of OPT's table of positions stand for none. */
const offset = 2

/** OPT (Zhang et al., 2022, arXiv 2205.01068). Position −1, of padding, is row 1 of the table. */
export const opt = defineArchitecture({
  name: 'opt',
  modelTypes: ['opt'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['_remove_final_dropout', 'activation_dropout'],
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = ['hidden_size', 'num_attention_heads', 'num_hidden_layers'].map((key) =>
    config.count(key),
  )
  const [inner, rows, positions] = ['ffn_dim', 'vocab_size', 'max_position_embeddings'].map((key) =>
    config.count(key),
  )
  if (!config.flag('layer_norm_elementwise_affine', true))
    throw new GraftError(
      'BAD_MODEL_CONFIG',
      `${config.file}: layer_norm_elementwise_affine: false is not supported.`,
    )
  const [embedded, headWidth, bias] = [
    config.count('word_embed_proj_dim', width),
    Math.floor(width / heads),
    config.flag('enable_bias', true),
  ]
  const act = activation(config, 'activation_function', 'relu')
  const before = config.flag('do_layer_norm_before', true)
  const bare = config.flag('_remove_final_layer_norm', false)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'model').in('decoder')
  const inputs = textInputs(c)
  const seen = attentionBias(g, inputs, { causal: true })
  const cache = new Cache(c)
  const norm = (at: Scope, name: string, x: Value) => at.layerNorm(name, x, width, 1e-5)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const [q, k, v] = keysFirst((name) => at.linear(name, x, width, width, bias))
    const mixed = at.run(() => {
      const [query, key, value] = [q, k, v].map((y) => splitHeads(g, y, heads, headWidth))
      return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias: seen }))
    })
    return at.linear('out_proj', mixed, width, width, bias)
  }
  const layer = (at: Scope, i: number, x: Value): Value => {
    const attended = attention(at.in('self_attn'), i, before ? norm(at, 'self_attn_layer_norm', x) : x)
    const sum = at.run(() => g.add(x, attended))
    const after = before ? sum : norm(at, 'self_attn_layer_norm', sum)
    const up = at.linear('fc1', before ? norm(at, 'final_layer_norm', after) : after, width, inner, bias)
    const fed = at.linear(
      'fc2',
      at.in('activation_fn').run(() => act(g, up)),
      inner,
      width,
      bias,
    )
    const out = at.run(() => g.add(after, fed))
    return before ? out : norm(at, 'final_layer_norm', out)
  }
  const tokens = model.embedding('embed_tokens', inputs.ids, rows, embedded)
  const projected = embedded === width ? tokens : model.linear('project_in', tokens, embedded, width, false)
  const own = g.op('Slice', [inputs.mask, g.sub(inputs.total, inputs.sequence), inputs.total, g.ints([1])])
  const real = g.cast(g.greater(own, g.int(0)), 'int64')
  const places = model.embedding(
    'embed_positions',
    g.add(g.mul(g.add(inputs.positions, g.int(1)), real), g.int(offset - 1)),
    positions + offset,
    width,
  )
  let hidden = model.run(() => g.add(projected, places))
  for (let i = 0; i < layers; i++) hidden = layer(model.in('layers').in(i), i, hidden)
  const normed = before && !bare ? norm(model, 'final_layer_norm', hidden) : hidden
  const last = embedded === width ? normed : model.linear('project_out', normed, width, embedded, false)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('embed_tokens').path : undefined
  const outputs = decoderOutputs(c, root, last, inputs.mask, () =>
    vocabularyLogits(c, { scope: root, name: 'lm_head', width: embedded, rows, tied }, last),
  )
  return { ...outputs, ...cache.outputs }
}
