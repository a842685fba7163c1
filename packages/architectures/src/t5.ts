import {
  type ArchitectureContext,
  type Builder,
  defineArchitecture,
  type Settings,
  type Value,
} from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, type Heads, joinHeads, splitHeads } from './blocks/attention.js'
import { DecoderCache, sourceInputs, targetInputs } from './blocks/encoder-decoder.js'
import { vocabularyLogits } from './blocks/heads.js'
import type { TextInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { distanceBias } from './blocks/relative-positions.js'
import { Scope } from './blocks/scope.js'

/** T5 and T5 v1.1, Flan-T5 (Raffel et al., 2020, arXiv 1910.10683): encoder and decoder with learned biases per distance, scores not scaled. */
export const t5 = defineArchitecture({
  name: 't5',
  modelTypes: ['t5', 'mt5', 'umt5'],
  tasks: ['sequence-to-sequence', 'features'],
  prefix: '',
  // Names of one table; the one that is there is all of them.
  names: (parameter) =>
    parameter === 'shared.weight' ? ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'] : [],
  ignores: ['is_gated_act', 'tokenizer_class', 'is_decoder', 'is_encoder_decoder'],
  positions: () => undefined,
  unused: (tensor, task) =>
    (task === 'features' && /^(decoder|lm_head)\./.test(tensor)) ||
    /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/.test(tensor),
  untied: (config) =>
    scalesOutputs(config)
      ? { config: { scale_decoder_outputs: false }, scale: config.count('d_model') ** -0.5 }
      : { config: {}, scale: 1 },
  build,
})

interface Sizes {
  width: number
  heads: number
  headWidth: number
  inner: number
  epsilon: number
  /** "relu", "gated-gelu", … */
  gated: boolean
  act: (g: Builder, x: Value) => Value
}
function sizesOf(config: Settings): Sizes {
  const [width, heads, headWidth, inner] = ['d_model', 'num_heads', 'd_kv', 'd_ff'].map((key) =>
    config.count(key),
  )
  const projection = config.text('feed_forward_proj', 'relu')
  const gated = projection.startsWith('gated-')
  const name = projection === 'gated-gelu' ? 'gelu_new' : projection.replace('gated-', '')
  return {
    width,
    heads,
    headWidth,
    inner,
    epsilon: config.number('layer_norm_epsilon', 1e-6),
    gated,
    act: activation(config, 'dense_act_fn', name),
  }
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const root = new Scope(c)
  const rows = config.count('vocab_size')
  const sizes = sizesOf(config)
  const scales = scalesOutputs(config)
  const source = sourceInputs(c)
  const encoded = encode(c, root, sizes, rows, source.inputs)
  if (c.task === 'features') return { hidden: encoded }
  const cache = new DecoderCache(c)
  const decoded = decode(c, root, sizes, rows, cache, { encoded, seen: source.seen })
  const scaled = scales ? g.scale(decoded, sizes.width ** -0.5) : decoded
  const head = { scope: root, name: 'lm_head', width: sizes.width, rows, tied: 'shared' }
  return { logits: vocabularyLogits(c, head, scaled), ...cache.outputs }
}

/**
 * Whether the decoder's last states are scaled. transformers 5 ties T5's embeddings whatever tie_word_embeddings says (a head that the
 * checkpoint has goes before), and takes that key for T5 v1.1's mark of none; mT5 has none.
 */
function scalesOutputs(config: Settings): boolean {
  const ties = config.flag('tie_word_embeddings', true)
  return config.text('model_type', 't5') !== 'mt5' && config.flag('scale_decoder_outputs', ties)
}

function encode(c: ArchitectureContext, root: Scope, sizes: Sizes, rows: number, inputs: TextInputs): Value {
  const seen = attentionBias(c.g, inputs, { causal: false })
  const at = root.in('encoder')
  const distances = distancesOf(c, at, sizes.heads, inputs, true)
  let hidden = tokens(c, at, inputs.ids, rows, sizes.width)
  for (let i = 0; i < c.config.count('num_layers'); i++) {
    const block = at.in('block').in(i).in('layer')
    hidden = residual(block.in(0), sizes, hidden, (x) =>
      attention(block.in(0).in('SelfAttention'), sizes, x, x, [distances(i), seen]),
    )
    hidden = residual(block.in(1), sizes, hidden, (x) =>
      feedForward(block.in(1).in('DenseReluDense'), sizes, x),
    )
  }
  return at.rmsNorm('final_layer_norm', hidden, sizes.width, sizes.epsilon)
}

function decode(
  c: ArchitectureContext,
  root: Scope,
  sizes: Sizes,
  rows: number,
  cache: DecoderCache,
  source: { encoded: Value; seen: Value },
): Value {
  const { config } = c
  const inputs = targetInputs(c)
  const seen = attentionBias(c.g, inputs, { causal: true })
  const at = root.in('decoder')
  const distances = distancesOf(c, at, sizes.heads, inputs, false)
  let hidden = tokens(c, at, inputs.ids, rows, sizes.width)
  for (let i = 0; i < config.count('num_decoder_layers', config.count('num_layers')); i++) {
    const block = at.in('block').in(i).in('layer')
    hidden = residual(block.in(0), sizes, hidden, (x) =>
      attention(block.in(0).in('SelfAttention'), sizes, x, x, [distances(i), seen], (now) =>
        cache.extend(i, now),
      ),
    )
    hidden = residual(block.in(1), sizes, hidden, (x) =>
      attention(
        block.in(1).in('EncDecAttention'),
        sizes,
        x,
        source.encoded,
        [undefined, source.seen],
        (now) => cache.read(i, now),
      ),
    )
    hidden = residual(block.in(2), sizes, hidden, (x) =>
      feedForward(block.in(2).in('DenseReluDense'), sizes, x),
    )
  }
  return at.rmsNorm('final_layer_norm', hidden, sizes.width, sizes.epsilon)
}
/** Biases per distance: one table that all layers share, or one for each (UMT5). */
function distancesOf(
  c: ArchitectureContext,
  at: Scope,
  heads: number,
  { sequence, total }: TextInputs,
  bidirectional: boolean,
): (i: number) => Value {
  const { g } = c
  const of = (i: number) => {
    const table = at.in('block').in(i).in('layer.0.SelfAttention.relative_attention_bias')
    const all = distanceBias(c, table, heads, total, { bidirectional })
    // What is written now looks back at all.
    return c.cache && !bidirectional ? g.op('Slice', [all, g.sub(total, sequence), total, g.ints([2])]) : all
  }
  if (c.config.text('model_type', 't5') === 'umt5') return of
  const shared = of(0)
  return () => shared
}

/** The encoder's or decoder's own table where the checkpoint has one that differs, else the shared one. */
function tokens(c: ArchitectureContext, at: Scope, ids: Value, rows: number, width: number): Value {
  const own = at.in('embed_tokens')
  const table = c.weights.tied(`${own.path}.weight`, 'shared.weight', [rows, width])
  const scope = table === c.weights.get('shared.weight', [rows, width]) ? new Scope(c, 'shared') : own
  return scope.run(() => c.g.gather(table, ids))
}

/** x + f(norm(x)) */
function residual(at: Scope, { width, epsilon }: Sizes, x: Value, f: (x: Value) => Value): Value {
  const y = f(at.rmsNorm('layer_norm', x, width, epsilon))
  return at.run(() => at.g.add(x, y))
}

function attention(
  at: Scope,
  { width, heads, headWidth }: Sizes,
  x: Value,
  read: Value,
  [headBias, bias]: readonly [Value | undefined, Value],
  extend = (now: Pick<Heads, 'key' | 'value'>) => now,
): Value {
  const { g } = at
  const all = heads * headWidth
  const [q, k, v] = [
    at.linear('q', x, width, all, false),
    at.linear('k', read, width, all, false),
    at.linear('v', read, width, all, false),
  ]
  const mixed = at.run(() => {
    const [query, key, value] = [q, k, v].map((y) => splitHeads(g, y, heads, headWidth))
    return joinHeads(g, attend(g, { query, ...extend({ key, value }) }, { bias, headBias, scale: 1 }))
  })
  return at.linear('o', mixed, all, width, false)
}

function feedForward(at: Scope, { width, inner, gated, act }: Sizes, x: Value): Value {
  const { g } = at
  if (!gated) {
    const up = at.linear('wi', x, width, inner, false)
    return at.linear(
      'wo',
      at.run(() => act(g, up)),
      inner,
      width,
      false,
    )
  }
  const [gate, up] = [at.linear('wi_0', x, width, inner, false), at.linear('wi_1', x, width, inner, false)]
  return at.linear(
    'wo',
    at.run(() => g.mul(act(g, gate), up)),
    inner,
    width,
    false,
  )
}
