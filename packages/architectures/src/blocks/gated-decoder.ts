import type { ArchitectureContext, Settings, Value } from '@graft-peft/core'
import { attend, Cache, joinHeads, splitHeads } from './attention.js'
import { type FeedForward, gatedFeedForward, named } from './feed-forward.js'
import { decoderOutputs, vocabularyLogits } from './heads.js'
import { textInputs, type TextInputs } from './inputs.js'
import { attentionBias } from './masks.js'
import { type Norm, rms } from './norms.js'
import { type Rope, rope, type RopeShape, rotate } from './rope.js'
import { Scope } from './scope.js'

/** How one layer looks back: its window and its rope may differ from the next layer's. */
export interface LayerKind {
  window?: number
  /** the entry of rope_parameters; all layers share one when left out, `false` for a layer without positions */
  rope?: string | false
}

/** The norms of a layer by name: of what attention and feed-forward read, and of what they give. */
export interface LayerNorms {
  attention?: string
  attended?: string
  feed?: string
  fed?: string
}

/** Normalises the query (q) or key (k) of a layer; `heads` of them. */
export type HeadNorm = (at: Scope, part: 'q' | 'k', x: Value, heads: number) => Value

/** What the models that descend from LLaMA do differently. */
export interface GatedDecoder {
  /** biases of query, key and value projections, and of the output projection */
  qkvBias: boolean
  outputBias: boolean
  /** one projection for query, key and value (Phi-3) */
  fused: boolean
  outputName: string
  norm: Norm
  norms: LayerNorms
  finalNorm: string
  /** attention and feed-forward read the same norm and are added together */
  parallel: boolean
  /** norms of query and key: of all heads at once, of each before it is turned, of each after */
  wholeNorm?: HeadNorm
  headNorm?: HeadNorm
  turnedNorm?: HeadNorm
  /** queries, keys and values are kept within ±clip */
  clip?: number
  /** values alone */
  valueClip?: number
  /** of queries, by their positions [batch, sequence] */
  queryScale?: (positions: Value) => Value
  /** of embeddings, of what each layer adds, of the final logits */
  embeddingScale?: number
  residualScale?: number
  logitScale?: number
  /** of scores, instead of 1/√headWidth */
  scale?: number
  softcap?: number
  /** each head may look nowhere: a learned score beside those of the keys */
  sinks?: boolean
  /** of the final logits */
  logitSoftcap?: number
  logitBias: boolean
  feedForward: FeedForward
  /** another feed-forward part for layer i, or undefined for the usual; `at` is the layer's place */
  experts?: (at: Scope, x: Value, i: number) => Value | undefined
  /** what layer i has in attention's place, or undefined for attention; its states go out beside the cache's */
  mixer?: (at: Scope, x: Value, i: number, inputs: TextInputs) => Value | undefined
  states?: Readonly<Record<string, Value>>
  ropeShape?: Partial<RopeShape>
  /** theta of each named rope, where older configs keep it under its own key */
  ropes?: Readonly<Record<string, Partial<RopeShape>>>
  layers: readonly LayerKind[]
  /** later tokens are seen too (an encoder made of a decoder) */
  bidirectional: boolean
  /** heads of its own, on the last hidden states */
  outputs?: (hidden: Value, mask: Value) => Record<string, Value>
  /** tie_word_embeddings where config.json doesn't say */
  tied: boolean
}

interface Sizes {
  width: number
  heads: number
  keyHeads: number
  headWidth: number
  inner: number
}
function sizesOf(config: Settings): Sizes {
  const [width, heads] = [config.count('hidden_size'), config.count('num_attention_heads')]
  const keyHeads = config.count('num_key_value_heads', heads)
  if (heads % keyHeads !== 0)
    throw config.wrong('num_key_value_heads', `a divisor of num_attention_heads, ${heads}`, keyHeads)
  return {
    width,
    heads,
    keyHeads,
    headWidth: config.count('head_dim', Math.floor(width / heads)),
    inner: config.count('intermediate_size'),
  }
}

/** A decoder with rotary positions and a gated feed-forward part: LLaMA (Touvron et al., 2023) and its kin. */
export function gatedDecoder(c: ArchitectureContext, variant: GatedDecoder): Record<string, Value> {
  const { g, config } = c
  const sizes = sizesOf(config)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'model').in(c.within ?? '')
  const inputs = textInputs(variant.outputs ? { ...c, cache: false } : c)
  const rows = config.count('vocab_size')
  const embedded = model.embedding('embed_tokens', inputs.ids, rows, sizes.width)
  let hidden = model.in('embed_tokens').run(() => scaled(c, embedded, variant.embeddingScale))
  const context = { c, sizes, variant, inputs, cache: new Cache(c), ...shared(c, inputs, sizes, variant) }
  variant.layers.forEach((kind, i) => {
    hidden = layer(context, model.in('layers').in(i), kind, i, hidden)
  })
  const last = variant.norm(model, variant.finalNorm, hidden, sizes.width)
  if (variant.outputs) return variant.outputs(last, inputs.mask)
  const tied = config.flag('tie_word_embeddings', variant.tied) ? model.in('embed_tokens').path : undefined
  const outputs = decoderOutputs(c, root, last, inputs.mask, () => {
    const head = { scope: root, name: 'lm_head', width: sizes.width, rows, bias: variant.logitBias, tied }
    const logits = scaled(c, vocabularyLogits(c, head, last), variant.logitScale)
    const cap = variant.logitSoftcap
    return cap === undefined ? logits : g.scale(g.tanh(g.scale(logits, 1 / cap)), cap)
  })
  return { ...outputs, ...context.cache.outputs, ...variant.states }
}
const scaled = ({ g }: ArchitectureContext, x: Value, by = 1): Value => (by === 1 ? x : g.scale(x, by))

/** Masks and rope tables, one per kind of layer. */
function shared(
  c: ArchitectureContext,
  inputs: TextInputs,
  { headWidth }: Sizes,
  { layers, ropeShape, ropes, bidirectional }: GatedDecoder,
) {
  const perKind = <T>(key: (kind: LayerKind) => string, make: (kind: LayerKind) => T) => {
    const made = new Map<string, T>()
    for (const kind of layers) if (!made.has(key(kind))) made.set(key(kind), make(kind))
    return made
  }
  return {
    biases: perKind(windowKey, ({ window }) =>
      attentionBias(c.g, inputs, { causal: !bidirectional, window }),
    ),
    tables: perKind(ropeKey, ({ rope: name = '' }) =>
      name === false
        ? undefined
        : rope(c.g, c.config, inputs, {
            headWidth,
            ...ropeShape,
            ...ropes?.[name],
            layerType: name || undefined,
          }),
    ),
  }
}
const windowKey = ({ window }: LayerKind): string => `${window}`
const ropeKey = ({ rope: name }: LayerKind): string => `${name}`

interface Context {
  c: ArchitectureContext
  sizes: Sizes
  variant: GatedDecoder
  inputs: TextInputs
  cache: Cache
  biases: ReadonlyMap<string, Value>
  tables: ReadonlyMap<string, Rope | undefined>
}

function layer(context: Context, at: Scope, kind: LayerKind, i: number, x: Value): Value {
  const { c, sizes, variant } = context
  const { norms, parallel, residualScale } = variant
  const norm = (name: string | undefined, y: Value) => (name ? variant.norm(at, name, y, sizes.width) : y)
  const added = (to: Value, y: Value) => at.run(() => c.g.add(to, scaled(c, y, residualScale)))
  const read = norm(norms.attention, x)
  const mixed = variant.mixer?.(at, read, i, context.inputs)
  const attended = norm(norms.attended, mixed ?? attention(context, at.in('self_attn'), kind, i, read))
  const after = added(x, attended)
  const fed = feedForward(context, at, i, parallel ? read : norm(norms.feed, after))
  return added(after, norm(norms.fed, fed))
}

function attention(
  { c, sizes, variant, inputs, cache, biases, tables }: Context,
  at: Scope,
  kind: LayerKind,
  i: number,
  x: Value,
): Value {
  const { g } = c
  const { width, heads, keyHeads, headWidth } = sizes
  const { wholeNorm, headNorm, turnedNorm, queryScale, scale, softcap } = variant
  const projected = projections(at, x, sizes, variant)
  const table = tables.get(ropeKey(kind))
  const turned = (part: 'q' | 'k', y: Value, count: number): Value => {
    const whole = wholeNorm ? wholeNorm(at, part, y, count) : y
    const split = splitHeads(g, whole, count, headWidth)
    const normed = headNorm ? headNorm(at, part, split, count) : split
    const placed = table ? rotate(g, normed, inputs, table, headWidth, count) : normed
    return turnedNorm ? turnedNorm(at, part, placed, count) : placed
  }
  const mixed = at.run(() => {
    const plain = turned('q', projected.query, heads)
    const query = queryScale ? g.mul(plain, queryScale(inputs.positions)) : plain
    const now = {
      key: turned('k', projected.key, keyHeads),
      value: splitHeads(g, projected.value, keyHeads, headWidth),
    }
    const bias = biases.get(windowKey(kind))
    const sinks = variant.sinks ? at.parameter('sinks', [heads]) : undefined
    return joinHeads(g, attend(g, { query, ...cache.extend(i, now) }, { bias, scale, softcap, sinks }))
  })
  return at.linear(variant.outputName, mixed, heads * headWidth, width, variant.outputBias)
}

function projections(
  at: Scope,
  x: Value,
  { width, heads, keyHeads, headWidth }: Sizes,
  { fused, qkvBias, clip, valueClip = clip }: GatedDecoder,
) {
  const { g } = at
  const [q, kv] = [heads * headWidth, keyHeads * headWidth]
  const clipped = (y: Value, by = clip) =>
    by === undefined ? y : at.run(() => g.op('Clip', [y, g.scalar(-by), g.scalar(by)]))
  if (!fused) {
    const project = (name: string, out: number, by = clip) =>
      clipped(at.linear(name, x, width, out, qkvBias), by)
    return {
      query: project('q_proj', q),
      key: project('k_proj', kv),
      value: project('v_proj', kv, valueClip),
    }
  }
  const all = clipped(at.linear('qkv_proj', x, width, q + 2 * kv, qkvBias))
  const [query, key, value] = at.run(() => g.split(all, [q, kv, kv], -1))
  return { query, key, value }
}

function feedForward({ sizes: { width, inner }, variant }: Context, at: Scope, i: number, x: Value): Value {
  const experts = variant.experts?.(at, x, i)
  return experts ?? gatedFeedForward(at.in('mlp'), variant.feedForward, width, inner, x)
}

/** LLaMA's own choices, from which the others differ. */
export const llamaLike = (config: Settings): GatedDecoder => ({
  qkvBias: false,
  outputBias: false,
  fused: false,
  outputName: 'o_proj',
  norm: rms(config.number('rms_norm_eps', 1e-6)),
  norms: { attention: 'input_layernorm', feed: 'post_attention_layernorm' },
  finalNorm: 'norm',
  parallel: false,
  logitBias: false,
  feedForward: {
    gate: 'gate_proj',
    up: 'up_proj',
    down: 'down_proj',
    bias: false,
    activation: named(config, 'hidden_act', 'silu'),
  },
  layers: Array.from({ length: config.count('num_hidden_layers') }, () => ({})),
  bidirectional: false,
  tied: false,
})

/** Norms of query and key heads under the names q_norm and k_norm. */
export const headNorms =
  (norm: Norm, width: number, name = '_norm'): HeadNorm =>
  (at, part, x) =>
    norm(at, `${part}${name}`, x, width)

/** How wide a head is. */
export const headWidthOf = (config: Settings): number => sizesOf(config).headWidth

/** Layers by config.json's layer_types, else by what older files say through `legacy`: whether layer i looks through the window. */
export function slidingLayers(config: Settings, legacy: (i: number) => boolean): LayerKind[] {
  const count = config.count('num_hidden_layers')
  const types =
    config.texts('layer_types', count) ??
    Array.from({ length: count }, (_, i) => (legacy(i) ? 'sliding_attention' : 'full_attention'))
  const window = config.optionalCount('sliding_window')
  return types.map((type) => {
    if (type !== 'sliding_attention' && type !== 'full_attention')
      throw config.wrong('layer_types', 'full_attention or sliding_attention', type)
    return { window: type === 'sliding_attention' ? window : undefined }
  })
}
