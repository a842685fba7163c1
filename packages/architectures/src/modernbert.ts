import { layerSizes } from './blocks/sizes.js'
import {
  type ArchitectureContext,
  defineArchitecture,
  entryOf,
  type Settings,
  type Value,
} from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads } from './blocks/attention.js'
import { firstToken, meanToken, vocabularyLogits } from './blocks/heads.js'
import { textInputs, type TextInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { type Rope, rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** ModernBERT (Warner et al., 2024, arXiv 2412.13663): rotary positions, gated feed-forward, two layers of three through a window. */
export const modernbert = defineArchitecture({
  name: 'modernbert',
  modelTypes: ['modernbert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'model',
  ignores: [
    'position_embedding_type',
    'layer_norm_eps',
    'reference_compile',
    'repad_logits_with_grad',
    'deterministic_flash_attn',
    'sparse_prediction',
    'sparse_pred_ignore_index',
    'initializer_cutoff_factor',
    'causal_mask',
  ],
  build,
})

/** What a kind of layer sees, and how its heads turn. */
interface Kind {
  bias: Value
  turns: Rope
}

function kindsOf(
  { g, config }: ArchitectureContext,
  inputs: TextInputs,
  headWidth: number,
): Record<string, Kind> {
  const window = Math.floor(config.count('local_attention', 128) / 2)
  const of = (layerType: string, theta: number, key: string, window?: number): Kind => ({
    bias: attentionBias(g, inputs, { causal: false, window }),
    turns: rope(g, config, inputs, { headWidth, theta, thetaKeys: [key], layerType }),
  })
  return {
    full_attention: of('full_attention', 160000, 'global_rope_theta'),
    sliding_attention: of('sliding_attention', 10000, 'local_rope_theta', window),
  }
}
function layerTypes(config: Settings, count: number): readonly string[] {
  const every = config.count('global_attn_every_n_layers', 3)
  return (
    config.texts('layer_types', count) ??
    Array.from({ length: count }, (_, i) => (i % every === 0 ? 'full_attention' : 'sliding_attention'))
  )
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers: count, inner } = layerSizes(config)
  const rows = config.count('vocab_size')
  const headWidth = Math.floor(width / heads)
  const act = activation(config, 'hidden_activation', 'gelu')
  const flag = (key: string) => config.flag(key, false)
  const norm = (at: Scope, name: string, x: Value) =>
    at.layerNorm(name, x, width, config.number('norm_eps', 1e-5), flag('norm_bias'))
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'model')
  const inputs = textInputs({ ...c, cache: false })
  const kinds = kindsOf(c, inputs, headWidth)

  const attention = (at: Scope, { bias, turns }: Kind, x: Value): Value => {
    const fused = at.linear('Wqkv', x, width, 3 * width, flag('attention_bias'))
    const mixed = at.run(() => {
      const parts = g
        .split(fused, [width, width, width], -1)
        .map((y) => g.transpose(g.op('Reshape', [y, g.ints([0, 0, heads, headWidth])]), [0, 2, 1, 3]))
      const [query, key] = parts.map((y) => rotate(g, y, inputs, turns, headWidth, heads))
      return joinHeads(g, attend(g, { query, key, value: parts[2] }, { bias }))
    })
    return at.linear('Wo', mixed, width, width, flag('attention_bias'))
  }
  const feedForward = (at: Scope, x: Value): Value => {
    const both = at.linear('Wi', x, width, 2 * inner, flag('mlp_bias'))
    const gated = at.run(() => {
      const [input, gate] = g.split(both, [inner, inner], -1)
      return g.mul(act(g, input), gate)
    })
    return at.linear('Wo', gated, inner, width, flag('mlp_bias'))
  }
  let hidden = norm(
    model.in('embeddings'),
    'norm',
    model.in('embeddings').embedding('tok_embeddings', inputs.ids, rows, width),
  )
  for (const [i, type] of layerTypes(config, count).entries()) {
    const at = model.in('layers').in(i)
    const kind = entryOf(kinds, type)
    if (!kind) throw config.wrong('layer_types', Object.keys(kinds).join(' or '), type)
    const x = hidden
    const attended = attention(at.in('attn'), kind, i === 0 ? x : norm(at, 'attn_norm', x))
    const after = at.run(() => g.add(x, attended))
    const fed = feedForward(at.in('mlp'), norm(at, 'mlp_norm', after))
    hidden = at.run(() => g.add(after, fed))
  }
  const last = norm(model, 'final_norm', hidden)
  const [ties, pooling, decoderBias, denseBias] = [
    config.flag('tie_word_embeddings', true),
    config.text('classifier_pooling', 'cls'),
    config.flag('decoder_bias', true),
    flag('classifier_bias'),
  ]
  const headAct = activation(config, 'classifier_activation', 'gelu')
  if (c.task === 'features') return { hidden: last }
  const head = (x: Value): Value => {
    const at = root.in('head')
    const dense = at.head('dense', x, width, width, denseBias)
    return norm(
      at,
      'norm',
      at.run(() => headAct(g, dense)),
    )
  }
  if (c.task === 'token-classification')
    return { logits: root.head('classifier', head(last), width, c.labels) }
  if (c.task === 'sequence-classification') {
    const pooled = pooling === 'mean' ? meanToken(g, last, inputs.mask) : firstToken(g, last)
    return { logits: root.head('classifier', head(pooled), width, c.labels) }
  }
  const tied = ties ? model.in('embeddings.tok_embeddings').path : undefined
  return {
    logits: vocabularyLogits(
      c,
      { scope: root, name: 'decoder', width, rows, bias: decoderBias, tied },
      head(last),
    ),
  }
}
