import type { ArchitectureContext, Settings, Value } from '@graft-peft/core'
import { activation } from './activations.js'
import { attend, Cache, joinHeads, splitHeads } from './attention.js'
import { decoderOutputs, vocabularyLogits } from './heads.js'
import { textInputs, type TextInputs } from './inputs.js'
import { attentionBias } from './masks.js'
import { type Rope, rope, type RopeShape, rotate } from './rope.js'
import { Scope } from './scope.js'

/** How one layer looks back: its window and its rope may differ from the next layer's. */
export interface LayerKind {
  window?: number
  /** the entry of rope_parameters; all layers share one when left out */
  rope?: string
}

/** What the models that descend from LLaMA do differently. */
export interface GatedDecoder {
  /** biases of query, key and value projections, and of the output projection */
  qkvBias: boolean
  outputBias: boolean
  mlpBias: boolean
  /** one projection for query, key and value, one for gate and up (Phi-3) */
  fused: boolean
  /** query and key heads are normalised */
  headNorms: boolean
  /** norms scale by 1 + w, and stand after attention and feed-forward too; embeddings are scaled by √width (Gemma) */
  gemma: boolean
  /** of scores, instead of 1/√headWidth */
  scale?: number
  softcap?: number
  /** of the final logits */
  logitSoftcap?: number
  activation: string
  ropeShape?: Partial<RopeShape>
  /** theta of each named rope, where older configs keep it under its own key */
  ropes?: Readonly<Record<string, Partial<RopeShape>>>
  layers: readonly LayerKind[]
  /** tie_word_embeddings where config.json doesn't say */
  tied: boolean
}

interface Sizes {
  width: number
  heads: number
  keyHeads: number
  headWidth: number
  inner: number
  epsilon: number
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
    epsilon: config.number('rms_norm_eps', 1e-6),
  }
}

/** A decoder of pre-normalised layers with rotary positions and a gated feed-forward part: LLaMA (Touvron et al., 2023) and its kin. */
export function gatedDecoder(c: ArchitectureContext, variant: GatedDecoder): Record<string, Value> {
  const { g, config } = c
  const sizes = sizesOf(config)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'model')
  const inputs = textInputs(c)
  const rows = config.count('vocab_size')
  const embedded = model.embedding('embed_tokens', inputs.ids, rows, sizes.width)
  let hidden = variant.gemma
    ? model.in('embed_tokens').run(() => g.scale(embedded, Math.sqrt(sizes.width)))
    : embedded
  const context = { c, sizes, variant, inputs, cache: new Cache(c), ...shared(c, inputs, sizes, variant) }
  variant.layers.forEach((kind, i) => {
    hidden = layer(context, model.in('layers').in(i), kind, i, hidden)
  })
  const last = model.rmsNorm('norm', hidden, sizes.width, sizes.epsilon, variant.gemma)
  const tied = config.flag('tie_word_embeddings', variant.tied) ? model.in('embed_tokens').path : undefined
  const outputs = decoderOutputs(c, root, last, inputs.mask, () => {
    const logits = vocabularyLogits(c, { scope: root, name: 'lm_head', width: sizes.width, rows, tied }, last)
    const cap = variant.logitSoftcap
    return cap === undefined ? logits : g.scale(g.tanh(g.scale(logits, 1 / cap)), cap)
  })
  return { ...outputs, ...context.cache.outputs }
}

/** Masks and rope tables, one per kind of layer. */
function shared(
  c: ArchitectureContext,
  inputs: TextInputs,
  { headWidth }: Sizes,
  { layers, ropeShape, ropes }: GatedDecoder,
) {
  const perKind = <T>(key: (kind: LayerKind) => string, make: (kind: LayerKind) => T) => {
    const made = new Map<string, T>()
    for (const kind of layers) if (!made.has(key(kind))) made.set(key(kind), make(kind))
    return made
  }
  return {
    biases: perKind(windowKey, ({ window }) => attentionBias(c.g, inputs, { causal: true, window })),
    tables: perKind(ropeKey, ({ rope: name = '' }) =>
      rope(c.g, c.config, inputs, {
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
  tables: ReadonlyMap<string, Rope>
}

function layer(context: Context, at: Scope, kind: LayerKind, i: number, x: Value): Value {
  const { g } = context.c
  const { width, epsilon } = context.sizes
  const { gemma } = context.variant
  const norm = (name: string, y: Value) => at.rmsNorm(name, y, width, epsilon, gemma)
  const attended = attention(context, at.in('self_attn'), kind, i, norm('input_layernorm', x))
  const after = at.run(() => g.add(x, gemma ? norm('post_attention_layernorm', attended) : attended))
  const fed = feedForward(
    context,
    at.in('mlp'),
    norm(gemma ? 'pre_feedforward_layernorm' : 'post_attention_layernorm', after),
  )
  return at.run(() => g.add(after, gemma ? norm('post_feedforward_layernorm', fed) : fed))
}

function attention(
  { c, sizes, variant, inputs, cache, biases, tables }: Context,
  at: Scope,
  kind: LayerKind,
  i: number,
  x: Value,
): Value {
  const { g } = c
  const { width, heads, keyHeads, headWidth, epsilon } = sizes
  const projected = projections(at, x, sizes, variant)
  const turned = (y: Value, count: number, norm: string): Value => {
    const split = splitHeads(g, y, count, headWidth)
    const normed = variant.headNorms ? at.rmsNorm(norm, split, headWidth, epsilon, variant.gemma) : split
    return rotate(g, normed, inputs, tables.get(ropeKey(kind)) as Rope, headWidth, count)
  }
  const mixed = at.run(() => {
    const query = turned(projected.query, heads, 'q_norm')
    const now = {
      key: turned(projected.key, keyHeads, 'k_norm'),
      value: splitHeads(g, projected.value, keyHeads, headWidth),
    }
    return joinHeads(
      g,
      attend(
        g,
        { query, ...cache.extend(i, now) },
        { bias: biases.get(windowKey(kind)), scale: variant.scale, softcap: variant.softcap },
      ),
    )
  })
  return at.linear('o_proj', mixed, heads * headWidth, width, variant.outputBias)
}

function projections(
  at: Scope,
  x: Value,
  { width, heads, keyHeads, headWidth }: Sizes,
  { fused, qkvBias }: GatedDecoder,
) {
  const [q, kv] = [heads * headWidth, keyHeads * headWidth]
  if (!fused) {
    const project = (name: string, out: number) => at.linear(name, x, width, out, qkvBias)
    return { query: project('q_proj', q), key: project('k_proj', kv), value: project('v_proj', kv) }
  }
  const all = at.linear('qkv_proj', x, width, q + 2 * kv, qkvBias)
  const [query, key, value] = at.run(() => at.g.split(all, [q, kv, kv], -1))
  return { query, key, value }
}

function feedForward({ c, sizes: { width, inner }, variant }: Context, at: Scope, x: Value): Value {
  const { g } = c
  const act = activation(c.config, ['hidden_act', 'hidden_activation'], variant.activation)
  const project = (name: string, out: number) => at.linear(name, x, width, out, variant.mlpBias)
  const both = variant.fused ? project('gate_up_proj', 2 * inner) : undefined
  const [gate, up] = both
    ? at.run(() => g.split(both, [inner, inner], -1))
    : [project('gate_proj', inner), project('up_proj', inner)]
  return at.linear(
    'down_proj',
    at.run(() => g.mul(act(g, gate), up)),
    inner,
    width,
    variant.mlpBias,
  )
}

/** LLaMA's own choices, from which the others differ. */
export const llamaLike = (config: Settings): GatedDecoder => ({
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  fused: false,
  headNorms: false,
  gemma: false,
  activation: 'silu',
  layers: Array.from({ length: config.count('num_hidden_layers') }, () => ({})),
  tied: false,
})

/** Layers by config.json's layer_types, else by what older files say through `legacy`: whether layer i looks through the window. */
export function slidingLayers(config: Settings, legacy: (i: number) => boolean): LayerKind[] {
  const count = config.count('num_hidden_layers')
  const types =
    config.texts('layer_types', count) ??
    Array.from({ length: count }, (_, i) => (legacy(i) ? 'sliding_attention' : 'full_attention'))
  const window = config.has('sliding_window') ? config.count('sliding_window') : undefined
  return types.map((type) => {
    if (type !== 'sliding_attention' && type !== 'full_attention')
      throw config.wrong('layer_types', 'full_attention or sliding_attention', type)
    return { window: type === 'sliding_attention' ? window : undefined }
  })
}
