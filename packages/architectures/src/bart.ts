import {
  type Architecture,
  type ArchitectureContext,
  type Builder,
  defineArchitecture,
  type Value,
} from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { type BartLayer, bartLayer } from './blocks/bart-layer.js'
import { DecoderCache, sourceInputs, targetInputs } from './blocks/encoder-decoder.js'
import { vocabularyLogits } from './blocks/heads.js'
import type { TextInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'
import { evenFrequency, fairseqFrequency, sinusoids } from './blocks/sinusoids.js'
import { countedPositions } from './roberta.js'

/** What the models that descend from BART do differently. */
interface BartKin {
  /** norms before attention and feed-forward, not after */
  before: boolean
  /** a norm of the embeddings: of the decoder's before positions are added (Blenderbot, small) */
  embeddingNorm?: 'sum' | 'tokens'
  /** a norm of the last states */
  lastNorm: boolean
  /** rows of the table of positions before the first, or sines: from 0 on, or counted from behind the padding token */
  positions: { offset: number } | 'sines' | 'counted sines'
  /** whether a key of config.json may keep the two vocabularies apart (Marian) */
  apart?: boolean
}
const tables = (parameter: string): string[] =>
  parameter === 'model.shared.weight'
    ? ['model.encoder.embed_tokens.weight', 'model.decoder.embed_tokens.weight']
    : []
const kin = (modelType: string, variant: BartKin, more: Partial<Architecture> = {}): Architecture =>
  defineArchitecture({
    name: modelType,
    modelTypes: [modelType],
    tasks: ['sequence-to-sequence'],
    prefix: 'model',
    names: tables,
    // What other code did with these models, and how they generate.
    ignores: [
      'is_encoder_decoder', 'is_decoder', 'num_hidden_layers', 'classif_dropout', 'force_bos_token_to_be_generated', 'add_bias_logits',
      'add_final_layer_norm', 'normalize_before', 'normalize_embedding', 'static_position_embeddings', 'gradient_checkpointing',
      'extra_pos_embeddings', 'encoder_no_repeat_ngram_size', 'num_beams', 'save_step', 'do_blenderbot_90_layernorm', 'layernorm_variant',
      'extra_layer_norm', 'assert_valid_mention', 'decoder_start_token_id', 'length_penalty',
    ], // biome-ignore format: a table
    build: (c) => build(c, variant),
    ...more,
  })

const after = { before: false, embeddingNorm: 'sum', lastNorm: false, positions: { offset: 2 } } as const
/** BART (Lewis et al., 2020, arXiv 1910.13461). */
export const bart = kin('bart', after)
/** PLBART (Ahmad et al., 2021, arXiv 2103.06333): BART for programs. */
export const plbart = kin('plbart', after)
/** mBART (Liu et al., 2020, arXiv 2001.08210). */
export const mbart = kin('mbart', { ...after, before: true, lastNorm: true })
/** Pegasus (Zhang et al., 2020, arXiv 1912.08777). */
export const pegasus = kin('pegasus', { before: true, lastNorm: true, positions: 'sines' })
/** Blenderbot (Roller et al., 2020, arXiv 2004.13637). */
export const blenderbot = kin('blenderbot', { before: true, lastNorm: true, positions: { offset: 0 } })
/** Blenderbot, the small one. */
export const blenderbotSmall = kin('blenderbot-small', {
  before: false,
  embeddingNorm: 'tokens',
  lastNorm: false,
  positions: { offset: 0 },
})
/** M2M-100 (Fan et al., 2020, arXiv 2010.11125) and NLLB. */
export const m2m100 = kin('m2m_100', { before: true, lastNorm: true, positions: 'counted sines' })
/** Marian (Junczys-Dowmunt et al., 2018, arXiv 1804.00344): OPUS-MT. */
export const marian = kin('marian', { before: false, lastNorm: false, positions: 'sines', apart: true })

function build(c: ArchitectureContext, variant: BartKin): Record<string, Value> {
  const { g, config } = c
  const [width, rows] = [config.count('d_model'), config.count('vocab_size')]
  const apart = variant.apart === true && !config.flag('share_encoder_decoder_embeddings', true)
  const written = apart ? config.count('decoder_vocab_size', rows) : rows
  config.heed('decoder_vocab_size')
  const root = new Scope(c)
  const model = root.in('model')
  const source = sourceInputs(c)
  const side = (name: 'encoder' | 'decoder') => ({
    at: model.in(name),
    shape: layerOf(c, name, width, variant),
    layers: config.count(`${name}_layers`),
    rows: name === 'decoder' ? written : rows,
    apart,
  })
  const encoder = side('encoder')
  const seen = attentionBias(g, source.inputs, { causal: false })
  let states = embedded(c, encoder, source.inputs, variant)
  for (let i = 0; i < encoder.layers; i++)
    states = bartLayer(encoder.at.in('layers').in(i), encoder.shape, states, { bias: seen })
  if (variant.lastNorm) states = encoder.at.layerNorm('layer_norm', states, width, encoder.shape.epsilon)

  const decoder = side('decoder')
  const target = targetInputs(c)
  const before = attentionBias(g, target, { causal: true })
  const cache = new DecoderCache(c)
  let hidden = embedded(c, decoder, target, variant)
  for (let i = 0; i < decoder.layers; i++)
    hidden = bartLayer(
      decoder.at.in('layers').in(i),
      decoder.shape,
      hidden,
      { bias: before, extend: (now) => cache.extend(i, now) },
      { states, bias: source.seen, extend: (now) => cache.read(i, now) },
    )
  if (variant.lastNorm) hidden = decoder.at.layerNorm('layer_norm', hidden, width, decoder.shape.epsilon)
  const ties = config.flag('tie_word_embeddings', true)
  const tied = !ties ? undefined : apart ? decoder.at.in('embed_tokens').path : model.in('shared').path
  const logits = vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows: written, tied }, hidden)
  return { logits: withBias(root, logits, written), ...cache.outputs }
}
/** A buffer of most checkpoints, zero but in a few. */
const withBias = (root: Scope, logits: Value, rows: number): Value =>
  root.has('final_logits_bias')
    ? root.run(() => root.g.add(logits, root.parameter('final_logits_bias', [1, rows])))
    : logits

const layerOf = (
  { config }: ArchitectureContext,
  side: 'encoder' | 'decoder',
  width: number,
  { before }: BartKin,
): BartLayer => ({
  width,
  heads: config.count(`${side}_attention_heads`),
  inner: config.count(`${side}_ffn_dim`),
  epsilon: 1e-5,
  act: activation(config, 'activation_function', 'gelu'),
  before,
})

/** What tokens and their positions are embedded as. */
function embedded(
  c: ArchitectureContext,
  {
    at,
    shape: { width, epsilon },
    rows,
    apart,
  }: { at: Scope; shape: BartLayer; rows: number; apart: boolean },
  inputs: TextInputs,
  { embeddingNorm, positions }: BartKin,
): Value {
  const { g, config } = c
  const place = at.in('embed_tokens')
  const own = `${place.path}.weight`
  const table = apart
    ? c.weights.get(own, [rows, width])
    : c.weights.tied(own, 'model.shared.weight', [rows, width])
  const early = embeddingNorm === 'tokens' && at.path.endsWith('decoder')
  // transformers' small Blenderbot scales what its encoder reads alone.
  const scale = config.flag('scale_embedding', false) && !early ? Math.sqrt(width) : 1
  const tokens = place.run(() => g.scale(g.gather(table, inputs.ids), scale))
  const norm = (y: Value) => at.layerNorm('layernorm_embedding', y, width, epsilon)
  const first = early ? norm(tokens) : tokens
  const summed = at.run(() => g.add(first, placed(c, at, inputs, width, positions)))
  return embeddingNorm && !early ? norm(summed) : summed
}

function placed(
  { g, config }: ArchitectureContext,
  at: Scope,
  { ids, positions, sequence, total }: TextInputs,
  width: number,
  kind: BartKin['positions'],
): Value {
  const count = config.count('max_position_embeddings')
  if (kind === 'counted sines') {
    const pad = config.whole('pad_token_id', 1)
    const table = sinusoids(g, count + 2, width, { frequency: fairseqFrequency(width), zero: pad })
    return g.gather(table, later(g, countedPositions(g, ids, pad), pad, g.sub(total, sequence)))
  }
  if (kind !== 'sines') {
    const { offset } = kind
    return at.embedding('embed_positions', g.add(positions, g.int(offset)), count + offset, width)
  }
  if (at.has('embed_positions.weight')) return at.embedding('embed_positions', positions, count, width)
  return g.gather(sinusoids(g, count, width, { frequency: evenFrequency(width) }), positions)
}
/** Positions behind `past` others; those of padding stay. */
const later = (g: Builder, positions: Value, pad: number, past: Value): Value =>
  g.where(g.equal(positions, g.int(pad)), positions, g.add(positions, past))
