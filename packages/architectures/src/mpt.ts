import { type ArchitectureContext, type Builder, defineArchitecture, type Value } from '@graft-peft/core'
import { attend, Cache, joinHeads, splitHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits } from './blocks/heads.js'
import { textInputs, type TextInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** MPT (MosaicML, 2023): no biases, no positions, but scores that fall off with distance (ALiBi, arXiv 2108.12409). */
export const mpt = defineArchitecture({
  name: 'mpt',
  modelTypes: ['mpt'],
  tasks: decoderTasks,
  prefix: 'transformer',
  // transformers' MPT is the one of MosaicML's releases, whatever these say.
  ignores: [
    'expansion_ratio', 'learned_pos_emb', 'init_device', 'logit_scale', 'no_bias', 'embedding_fraction', 'norm_type', 'verbose', 'init_config',
    'tokenizer_name', 'attn_config.attn_impl', 'attn_config.attn_type', 'attn_config.prefix_lm', 'attn_config.qk_ln', 'attn_config.alibi_bias_max',
    'attn_config.attn_uses_sequence_id', 'attn_config.attn_pdrop', 'attn_config.model_type',
  ], // biome-ignore format: a table
  positions: (config) => config.count('max_seq_len'),
  build,
})

/** Slopes of powers of 2^(−8/n) for the next power of two n; where there are fewer heads, every other first. */
function slopes(heads: number): number[] {
  const whole = 2 ** Math.ceil(Math.log2(heads))
  const all = Array.from({ length: whole }, (_, i) => 2 ** ((-8 * (i + 1)) / whole))
  if (whole === heads) return all
  return [...all.filter((_, i) => i % 2 === 1), ...all.filter((_, i) => i % 2 === 0)].slice(0, heads)
}
/** [1, heads, 1, total]: minus slope times how far a key lies before the last. */
function falloff(g: Builder, { total }: TextInputs, heads: number): Value {
  const back = g.sub(g.range(g.squeeze(total, [0])), g.squeeze(total, [0]))
  return g.mul(g.constant('float32', slopes(heads), [1, heads, 1, 1]), g.cast(back, 'float32'))
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const width = config.count(['d_model', 'hidden_size'])
  const heads = config.count(['n_heads', 'num_attention_heads'])
  const layers = config.count(['n_layers', 'num_hidden_layers'])
  const [rows, epsilon] = [config.count('vocab_size'), config.number('layer_norm_epsilon', 1e-5)]
  const headWidth = Math.floor(width / heads)
  config.heed('max_seq_len')
  const own = config.nested('attn_config')
  if (own?.flag('alibi', true) === false) throw own.wrong('alibi', 'true', false)
  const [clip, scale] = [own?.optional('clip_qkv') ?? 0, own?.optional('softmax_scale')]
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const [bias, headBias] = [attentionBias(g, inputs, { causal: true }), falloff(g, inputs, heads)]
  const cache = new Cache(c)
  let hidden = model.embedding('wte', inputs.ids, rows, width)
  for (let i = 0; i < layers; i++) {
    const at = model.in('blocks').in(i)
    const x = hidden
    const norm = (name: string, y: Value) => at.layerNorm(name, y, width, epsilon, false)
    const self = at.in('attn')
    const fused = self.linear('Wqkv', norm('norm_1', x), width, 3 * width, false)
    const mixed = self.run(() => {
      const clipped = clip ? g.op('Clip', [fused, g.scalar(-clip), g.scalar(clip)]) : fused
      const parts = g.split(clipped, [width, width, width], -1)
      const [query, key, value] = parts.map((y) => splitHeads(g, y, heads, headWidth))
      return joinHeads(g, attend(g, { query, ...cache.extend(i, { key, value }) }, { bias, headBias, scale }))
    })
    const attended = self.linear('out_proj', mixed, width, width, false)
    const after = at.run(() => g.add(attended, x))
    const feed = at.in('ffn')
    const up = feed.linear('up_proj', norm('norm_2', after), width, 4 * width, false)
    const activated = feed.in('act').run(() => g.op('Gelu', [up], { approximate: 'none' }))
    const fed = feed.linear('down_proj', activated, 4 * width, width, false)
    hidden = at.run(() => g.add(fed, after))
  }
  const last = model.layerNorm('norm_f', hidden, width, epsilon, false)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('wte').path : undefined
  const language = () => vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, tied }, last)
  return { ...decoderOutputs(c, root, last, inputs.mask, language, 'classifier'), ...cache.outputs }
}
