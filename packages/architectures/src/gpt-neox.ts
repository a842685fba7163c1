import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, Cache, joinHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** GPT-NeoX (Black et al., 2022, arXiv 2204.06745): Pythia, Dolly 2.0. Attention and feed-forward side by side, a quarter of each head turned. */
export const gptNeoX = defineArchitecture({
  name: 'gpt-neox',
  modelTypes: ['gpt_neox'],
  tasks: decoderTasks,
  prefix: 'gpt_neox',
  names: (parameter) =>
    parameter.startsWith('lm_head.') ? [parameter.replace('lm_head.', 'embed_out.')] : [],
  // Checkpoints hold causal masks.
  ignores: ['is_decoder'],
  unused: (tensor) => /attention\.(masked_)?bias$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = ['hidden_size', 'num_attention_heads', 'num_hidden_layers'].map((key) =>
    config.count(key),
  )
  const [inner, rows, epsilon] = [
    config.count('intermediate_size'),
    config.count('vocab_size'),
    config.number('layer_norm_eps', 1e-5),
  ]
  const headWidth = Math.floor(width / heads)
  const bias = config.flag('attention_bias', true)
  const act = activation(config, 'hidden_act', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'gpt_neox')
  const inputs = textInputs(c)
  const seen = attentionBias(g, inputs, { causal: true })
  const turns = rope(g, config, inputs, {
    headWidth,
    thetaKeys: ['rotary_emb_base', 'rope_theta'],
    partial: 0.25,
  })
  const cache = new Cache(c)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const fused = at.linear('query_key_value', x, width, 3 * width, bias)
    const mixed = at.run(() => {
      // Each head's query, key and value lie side by side.
      const perHead = g.transpose(
        g.op('Reshape', [fused, g.ints([0, 0, heads, 3 * headWidth])]),
        [0, 2, 1, 3],
      )
      const [q, k, value] = g.split(perHead, [headWidth, headWidth, headWidth], -1)
      const [query, key] = [q, k].map((y) => rotate(g, y, inputs, turns, headWidth, heads))
      return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias: seen }))
    })
    return at.linear('dense', mixed, width, width, bias)
  }
  const feedForward = (at: Scope, x: Value): Value => {
    const up = at.linear('dense_h_to_4h', x, width, inner)
    return at.linear(
      'dense_4h_to_h',
      at.in('act').run(() => act(g, up)),
      inner,
      width,
    )
  }
  const parallel = config.flag('use_parallel_residual', true)
  let hidden = model.embedding('embed_in', inputs.ids, rows, width)
  for (let i = 0; i < layers; i++) {
    const at = model.in('layers').in(i)
    const x = hidden
    const norm = (name: string, y: Value) => at.layerNorm(name, y, width, epsilon)
    const attended = attention(at.in('attention'), i, norm('input_layernorm', x))
    const after = at.run(() => g.add(attended, x))
    const fed = feedForward(at.in('mlp'), norm('post_attention_layernorm', parallel ? x : after))
    hidden = at.run(() => g.add(fed, after))
  }
  const last = model.layerNorm('final_layer_norm', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', false) ? model.in('embed_in').path : undefined
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
