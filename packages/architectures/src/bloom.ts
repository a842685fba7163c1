import { type ArchitectureContext, type Builder, defineArchitecture, type Value } from '@graft-peft/core'
import { attend, Cache, joinHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** BLOOM (BigScience, 2022, arXiv 2211.05100): no positions, but scores that fall off with distance (ALiBi, arXiv 2108.12409). */
export const bloom = defineArchitecture({
  name: 'bloom',
  modelTypes: ['bloom'],
  tasks: decoderTasks,
  prefix: 'transformer',
  // How sums are split among machines, and options of its training.
  ignores: [
    'slow_but_exact',
    'masked_softmax_fusion',
    'attention_softmax_in_fp32',
    'bias_dropout_fusion',
    'skip_bias_add',
    'skip_bias_add_qkv',
    'offset_alibi',
    'n_inner',
    'num_attention_heads_tp',
    'unk_token',
  ],
  build,
})

/** Each head's slope: powers of 2^(−8/n), and for the heads beyond a power of two those in between. */
function slopes(heads: number): number[] {
  const whole = 2 ** Math.floor(Math.log2(heads))
  const powers = (n: number, count: number, step: number) =>
    Array.from({ length: count }, (_, i) => 2 ** (-(2 ** -(Math.log2(n) - 3)) * (1 + step * i)))
  return [...powers(whole, whole, 1), ...powers(2 * whole, heads - whole, 2)]
}

/** [batch, heads, 1, total]: slope · how many real tokens lie before a key. */
function alibi(g: Builder, mask: Value, heads: number): Value {
  const real = g.cast(g.greater(mask, g.int(0)), 'int64')
  const before = g.mul(g.sub(g.op('CumSum', [real, g.int(1)]), g.int(1)), real)
  const perHead = g.constant('float32', slopes(heads), [1, heads, 1, 1])
  return g.mul(perHead, g.cast(g.unsqueeze(before, [1, 2]), 'float32'))
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = [
    config.count(['hidden_size', 'n_embed']),
    config.count(['n_head', 'num_attention_heads']),
    config.count(['n_layer', 'num_hidden_layers']),
  ]
  const [rows, epsilon, headWidth] = [
    config.count('vocab_size'),
    config.number('layer_norm_epsilon', 1e-5),
    Math.floor(width / heads),
  ]
  const fromNorm = config.flag('apply_residual_connection_post_layernorm', false)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const [seen, distance] = [attentionBias(g, inputs, { causal: true }), alibi(g, inputs.mask, heads)]
  const cache = new Cache(c)
  const norm = (at: Scope, name: string, x: Value) => at.layerNorm(name, x, width, epsilon)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const fused = at.linear('query_key_value', x, width, 3 * width)
    const mixed = at.run(() => {
      const perHead = g.transpose(
        g.op('Reshape', [fused, g.ints([0, 0, heads, 3 * headWidth])]),
        [0, 2, 1, 3],
      )
      const [query, key, value] = g.split(perHead, [headWidth, headWidth, headWidth], -1)
      return joinHeads(
        g,
        attend(g, { query, ...cache.extend(i, { key, value }) }, { bias: seen, headBias: distance }),
      )
    })
    return at.linear('dense', mixed, width, width)
  }
  const feedForward = (at: Scope, x: Value): Value => {
    const up = at.linear('dense_h_to_4h', x, width, 4 * width)
    return at.linear(
      'dense_4h_to_h',
      at.in('gelu_impl').run(() => g.op('Gelu', [up], { approximate: 'tanh' })),
      4 * width,
      width,
    )
  }
  let hidden = norm(
    model,
    'word_embeddings_layernorm',
    model.embedding('word_embeddings', inputs.ids, rows, width),
  )
  for (let i = 0; i < layers; i++) {
    const at = model.in('h').in(i)
    const first = norm(at, 'input_layernorm', hidden)
    const residual = fromNorm ? first : hidden
    const attended = attention(at.in('self_attention'), i, first)
    const after = at.run(() => g.add(attended, residual))
    const second = norm(at, 'post_attention_layernorm', after)
    const fed = feedForward(at.in('mlp'), second)
    hidden = at.run(() => g.add(fed, fromNorm ? second : after))
  }
  const last = norm(model, 'ln_f', hidden)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('word_embeddings').path : undefined
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
