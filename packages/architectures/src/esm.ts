import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { gelu } from './blocks/activations.js'
import { firstTokenLabels, transformed } from './blocks/encoder-heads.js'
import { bertEncoder, encoderSizes } from './blocks/bert-encoder.js'
import { vocabularyLogits } from './blocks/heads.js'
import { textInputs, type TextInputs } from './blocks/inputs.js'
import { rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'
import { countedPositions } from './roberta.js'

/** ESM-1b and ESM-2 (Lin et al., 2022): proteins; norms before attention and feed-forward, positions learned or turned. */
export const esm = defineArchitecture({
  name: 'esm',
  modelTypes: ['esm'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'esm',
  ignores: ['esmfold_config', 'vocab_list', 'use_cache'],
  // transformers writes a norm's parameters as gamma and beta.
  names: (parameter) =>
    parameter.includes('LayerNorm.') ? [parameter.replace(/weight$/, 'gamma').replace(/bias$/, 'beta')] : [],
  unused: (tensor) => /(^|\.)(pooler|contact_head)\.|position_ids$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const sizes = encoderSizes(config)
  const { width, heads, rows, epsilon } = sizes
  const headWidth = Math.floor(width / heads)
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  if (config.flag('is_folding_model', false)) throw config.wrong('is_folding_model', 'false', true)
  // The activation of its feed-forward part is GELU, whatever hidden_act says.
  const kind = config.text('position_embedding_type', 'absolute')
  if (kind !== 'absolute' && kind !== 'rotary')
    throw config.wrong('position_embedding_type', 'absolute or rotary', kind)
  const model = root.in(c.task === 'features' ? '' : 'esm')
  const inputs = textInputs({ ...c, cache: false })
  const turns = kind === 'rotary' ? rope(g, config, inputs, { headWidth }) : undefined
  const embedded = embeddings(c, model.in('embeddings'), inputs, { rows, width, epsilon })
  const encoded = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded, {
    before: { attention: 'attention.LayerNorm', feed: 'LayerNorm' },
    turn: (_, x, part) => (turns && part !== 'value' ? rotate(g, x, inputs, turns, headWidth, heads) : x),
  })
  const hidden = model.in('encoder').layerNorm('emb_layer_norm_after', encoded, width, epsilon)
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification')
    return { logits: firstTokenLabels(root.in('classifier'), hidden, c.labels) }
  const head = root.in('lm_head')
  const normed = transformed(head, hidden, { width, epsilon, act: gelu, norm: 'layer_norm' })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  const logits = vocabularyLogits(c, { scope: head, name: 'decoder', width, rows, tied }, normed)
  return { logits: head.run(() => g.add(logits, head.parameter('bias', [rows]))) }
}

/** The share of tokens that were masked in training, and so zero. */
const masked = 0.15 * 0.8
/** Tokens and positions; masked tokens zero and the others scaled for it, padding zero. */
function embeddings(
  { g, config }: ArchitectureContext,
  at: Scope,
  { ids, mask }: TextInputs,
  { rows, width, epsilon }: { rows: number; width: number; epsilon: number },
): Value {
  const pad = config.whole('pad_token_id', 1)
  const kind = config.text('position_embedding_type', 'absolute')
  const real = g.unsqueeze(g.cast(g.greater(mask, g.int(0)), 'float32'), [-1])
  const tokens = at.embedding('word_embeddings', ids, rows, width)
  const token = config.optional('mask_token_id') ?? -1
  const drops = config.flag('token_dropout', false)
  const kept = !drops
    ? tokens
    : at.run(() => {
        const hit = g.unsqueeze(g.cast(g.equal(ids, g.int(token)), 'float32'), [-1])
        const share = g.div(g.reduceSum(hit, [1]), g.reduceSum(real, [1]))
        const visible = g.mul(tokens, g.sub(g.scalar(1), hit))
        return g.div(g.scale(visible, 1 - masked), g.sub(g.scalar(1), share))
      })
  const places = config.count('max_position_embeddings')
  const placed = kind !== 'absolute' ? kept : addTo(at, kept, at.embedding('position_embeddings', countedPositions(g, ids, pad), places, width)) // biome-ignore format: one line
  const before = config.flag('emb_layer_norm_before', false)
  const normed = before ? at.layerNorm('layer_norm', placed, width, epsilon) : placed
  return at.run(() => g.mul(normed, real))
}
const addTo = (at: Scope, a: Value, b: Value): Value => at.run(() => at.g.add(a, b))
