import { pooledFirst, transformed } from './blocks/encoder-heads.js'
import {
  type ArchitectureContext,
  defineArchitecture,
  type Settings,
  shapeOf,
  type Value,
} from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { encoderSizes } from './blocks/bert-encoder.js'
import { maskedVocabularyLogits } from './blocks/heads.js'
import { textInputs, type TextInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'

/** DeBERTa v2 and v3 (He et al., 2021, arXiv 2006.03654, 2111.09543): scores of contents with distances beside those of contents. */
export const debertaV2 = defineArchitecture({
  name: 'deberta-v2',
  modelTypes: ['deberta-v2'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'deberta',
  ignores: ['pooler_dropout', 'pooler_hidden_size', 'legacy', 'use_cache', 'conv_act', 'conv_groups'],
  // Heads of its training; a norm of distances in models without.
  unused: (tensor) => /(^|\.)(lm_predictions|mask_predictions|encoder\.LayerNorm)\./.test(tensor),
  build,
})

interface Distances {
  /** rows of the table of distances, half of them backwards */
  span: number
  /** which scores there are: of contents with where keys lie, of where queries lie with contents */
  kinds: readonly string[]
  shares: boolean
  /** [sequence, sequence]: the table's row for a query and a key */
  forward: Value
  /** the same for a key and a query */
  backward: Value
  /** [2·span, width] */
  table: Value
}

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner, rows, epsilon } = encoderSizes(config)
  const act = activation(config, 'hidden_act', 'gelu')
  const poolerAct = activation(config, 'pooler_hidden_act', 'gelu')
  if ((config.optional('conv_kernel_size') ?? 0) > 0)
    throw config.wrong('conv_kernel_size', '0: a convolution beside the first layer is not built here', config.optional('conv_kernel_size')) // biome-ignore format: one line
  const ties = config.flag('tie_word_embeddings', true)
  const headWidth = config.count('attention_head_size', Math.floor(width / heads))
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'deberta')
  const inputs = textInputs({ ...c, cache: false })
  const bias = attentionBias(g, inputs, { causal: false })
  const kinds = kindsOf(config)
  const distances = distancesOf(c, model.in('encoder'), inputs, kinds, width, epsilon)
  const scale = 1 / Math.sqrt(headWidth * (1 + kinds.length))
  const norm = (at: Scope, x: Value) => at.layerNorm('LayerNorm', x, width, epsilon)
  let hidden = embeddings(c, model.in('embeddings'), inputs, rows, width, epsilon)
  for (let i = 0; i < layers; i++) {
    const at = model.in('encoder.layer').in(i)
    const x = hidden
    const self = at.in('attention.self')
    const all = heads * headWidth
    const parts = ['query', 'key', 'value'].map((name) => self.linear(`${name}_proj`, x, width, all))
    const split = (y: Value) => self.run(() => splitHeads(g, y, heads, headWidth))
    const [query, key, value] = parts.map(split)
    const by = distances && scoresOf(self, distances, { query, key }, { width, all, split, scale })
    const mixed = self.run(() =>
      joinHeads(g, attend(g, { query, key, value }, { bias, headBias: by, scale })),
    )
    const output = at.in('attention.output')
    const dense = output.linear('dense', mixed, all, width)
    const attended = norm(output, output.run(() => g.add(dense, x))) // biome-ignore format: short
    const up = at.in('intermediate').linear('dense', attended, width, inner)
    const activated = at.in('intermediate').run(() => act(g, up))
    const fed = at.in('output').linear('dense', activated, inner, width)
    hidden = norm(at.in('output'), at.in('output').run(() => g.add(fed, attended))) // biome-ignore format: short
  }
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification') {
    const pooled = pooledFirst(root.in('pooler'), hidden, poolerAct)
    return { logits: root.head('classifier', pooled, width, c.labels) }
  }
  const narrow = config.count('embedding_size', width)
  const head = root.in('cls.predictions')
  const last = transformed(head.in('transform'), hidden, { width: narrow, epsilon, act })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return {
    logits: maskedVocabularyLogits(c, { scope: head, name: 'decoder', width: narrow, rows, tied }, last),
  }
}

/** Tokens, and where the config says so positions and the texts of a pair; padding is zero. */
function embeddings(
  { g, config }: ArchitectureContext,
  at: Scope,
  { ids, mask, positions }: TextInputs,
  rows: number,
  width: number,
  epsilon: number,
): Value {
  const narrow = config.count('embedding_size', width)
  const [placed, kinds] = [config.flag('position_biased_input', true), config.number('type_vocab_size', 0)]
  const count = config.count('max_position_embeddings')
  const parts = [at.embedding('word_embeddings', ids, rows, narrow)]
  if (placed) parts.push(at.embedding('position_embeddings', positions, count, narrow))
  if (kinds > 0) {
    const types = g.graph.addInput('token_type_ids', 'int64', ['batch', 'sequence'])
    parts.push(at.embedding('token_type_embeddings', types, kinds, narrow))
  }
  const summed = at.run(() => parts.reduce(g.add))
  const wide = narrow === width ? summed : at.linear('embed_proj', summed, narrow, width, false)
  const normed = at.layerNorm('LayerNorm', wide, width, epsilon)
  const real = g.unsqueeze(g.cast(g.greater(mask, g.int(0)), 'float32'), [-1])
  return at.run(() => g.mul(normed, real))
}

function kindsOf(config: Settings): readonly string[] {
  const kinds = config.words('pos_att_type')
  const strange = kinds.find((kind) => kind !== 'c2p' && kind !== 'p2c')
  if (strange) throw config.wrong('pos_att_type', 'c2p and p2c', strange)
  return kinds
}

const { fround } = Math
/** A distance's bucket: itself near by, logarithmic further off (make_log_bucket_position). */
function bucket(distance: number, buckets: number, greatest: number): number {
  const middle = Math.floor(buckets / 2)
  const far = Math.abs(distance)
  if (buckets <= 0 || greatest <= 0 || far <= middle) return distance
  const share = fround(
    fround(Math.log(fround(far / middle))) / fround(Math.log(fround((greatest - 1) / middle))),
  )
  return Math.sign(distance) * (Math.ceil(fround(share * (middle - 1))) + middle)
}

function distancesOf(
  c: ArchitectureContext,
  encoder: Scope,
  { sequence }: TextInputs,
  kinds: readonly string[],
  width: number,
  epsilon: number,
): Distances | undefined {
  const { g, config } = c
  const buckets = config.optional('position_buckets') ?? -1
  const said = config.number('max_relative_positions', -1)
  const greatest = said < 1 ? config.count('max_position_embeddings') : said
  const shares = config.flag('share_att_key', false)
  const norms = config.text('norm_rel_ebd', 'none').toLowerCase()
  if (!config.flag('relative_attention', false)) return undefined
  const span = buckets > 0 ? buckets : greatest
  const stored = encoder.in('rel_embeddings').parameter('weight', [2 * span, width])
  const normed = norms.split('|').some((name) => name.trim() === 'layer_norm')
  const table = normed ? encoder.layerNorm('LayerNorm', stored, width, epsilon) : stored
  // Beyond this all distances have the first or the last row.
  let reach = 1
  while (bucket(reach, buckets, greatest) < span && reach < 2 ** 20) reach++
  const row = (distance: number) => Math.min(2 * span - 1, Math.max(0, distance + span))
  const all = Array.from({ length: 2 * reach + 1 }, (_, i) => bucket(i - reach, buckets, greatest))
  const at = g.range(g.squeeze(sequence, [0]))
  const distance = g.sub(g.unsqueeze(at, [1]), g.unsqueeze(at, [0]))
  const clipped = g.add(g.op('Clip', [distance, g.int(-reach), g.int(reach)]), g.int(reach))
  return {
    span,
    kinds,
    shares,
    table,
    forward: g.gather(g.ints(all.map(row)), clipped),
    backward: g.gather(g.ints(all.map((b) => row(-b))), clipped),
  }
}

interface Shape {
  width: number
  all: number
  split: (y: Value) => Value
  scale: number
}
/** Scores of contents with distances: [batch, heads, sequence, sequence]. */
function scoresOf(
  at: Scope,
  { kinds, shares, forward, backward, table }: Distances,
  { query, key }: { query: Value; key: Value },
  { width, all, split, scale }: Shape,
): Value | undefined {
  const { g } = at
  const rows = at.run(() => g.unsqueeze(table, [0]))
  const project = (own: string, common: string) => split(at.linear(shares ? common : own, rows, width, all))
  /** What x gives with the row of each pair. */
  const picked = (x: Value, along: Value, index: Value): Value => {
    const scores = g.matMul(x, along, { transB: true, alpha: scale })
    const [batch, heads, sequence] = shapeOf(scores)
    return g.op('GatherElements', [scores, g.expand(g.unsqueeze(index, [0, 1]), [batch, heads, sequence, sequence])], { axis: 3 }) // biome-ignore format: one line
  }
  const parts: Value[] = []
  if (kinds.includes('c2p')) {
    const places = project('pos_key_proj', 'key_proj')
    parts.push(at.run(() => picked(query, places, forward)))
  }
  if (kinds.includes('p2c')) {
    const places = project('pos_query_proj', 'query_proj')
    parts.push(at.run(() => g.transpose(picked(key, places, backward), [0, 1, 3, 2])))
  }
  return parts.length === 0 ? undefined : at.run(() => parts.reduce(g.add))
}
