import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, Cache, joinHeads, splitHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** GPT-2 (Radford et al., 2019): learned positions, weights stored [in, out]. */
export const gpt2 = defineArchitecture({
  name: 'gpt2',
  modelTypes: ['gpt2'],
  tasks: decoderTasks,
  prefix: 'transformer',
  // The head of multiple choice, and how sums are ordered.
  ignores: [
    'summary_type',
    'summary_use_proj',
    'summary_activation',
    'summary_first_dropout',
    'summary_proj_to_labels',
    'reorder_and_upcast_attn',
    'n_ctx',
  ],
  // Checkpoints hold causal masks.
  unused: (tensor) => /attn\.(masked_)?bias$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = [
    config.count(['n_embd', 'hidden_size']),
    config.count(['n_head', 'num_attention_heads']),
    config.count(['n_layer', 'num_hidden_layers']),
  ]
  const [inner, rows, epsilon] = [
    config.count('n_inner', 4 * width),
    config.count('vocab_size'),
    config.number('layer_norm_epsilon', 1e-5),
  ]
  const headWidth = Math.floor(width / heads)
  const act = activation(config, 'activation_function', 'gelu_new')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const seen = attentionBias(g, inputs, { causal: true })
  const cache = new Cache(c)
  const base = config.flag('scale_attn_weights', true) ? 1 / Math.sqrt(headWidth) : 1
  const byLayer = config.flag('scale_attn_by_inverse_layer_idx', false)
  const scale = (i: number) => (byLayer ? base / (i + 1) : base)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const fused = at.conv1d('c_attn', x, width, 3 * width)
    const mixed = at.run(() => {
      const [query, key, value] = g
        .split(fused, [width, width, width], -1)
        .map((y) => splitHeads(g, y, heads, headWidth))
      return joinHeads(
        g,
        attend(g, { query, ...cache.extend(i, { key, value }) }, { bias: seen, scale: scale(i) }),
      )
    })
    return at.conv1d('c_proj', mixed, width, width)
  }
  const feedForward = (at: Scope, x: Value): Value => {
    const up = at.conv1d('c_fc', x, width, inner)
    return at.conv1d(
      'c_proj',
      at.in('act').run(() => act(g, up)),
      inner,
      width,
    )
  }
  const tokens = model.embedding('wte', inputs.ids, rows, width)
  const places = model.embedding(
    'wpe',
    inputs.positions,
    config.count(['n_positions', 'max_position_embeddings']),
    width,
  )
  let hidden = model.run(() => g.add(tokens, places))
  for (let i = 0; i < layers; i++) {
    const at = model.in('h').in(i)
    const x = hidden
    const attended = attention(at.in('attn'), i, at.layerNorm('ln_1', x, width, epsilon))
    const after = at.run(() => g.add(attended, x))
    const fed = feedForward(at.in('mlp'), at.layerNorm('ln_2', after, width, epsilon))
    hidden = at.run(() => g.add(after, fed))
  }
  const last = model.layerNorm('ln_f', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('wte').path : undefined
  const outputs = decoderOutputs(
    c,
    root,
    last,
    inputs.mask,
    () => vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, tied }, last),
    'classifier',
  )
  return { ...outputs, ...cache.outputs }
}
