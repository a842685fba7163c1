import { gelu } from './blocks/activations.js'
import { firstTokenLabels, transformed } from './blocks/encoder-heads.js'
import {
  type ArchitectureContext,
  type Builder,
  defineArchitecture,
  type Settings,
  type Value,
} from '@graft-peft/core'
import {
  bertEmbeddings,
  bertEncoder,
  type BertVariant,
  encoderInputs,
  type EncoderSizes,
  encoderSizes,
  normAt,
} from './blocks/bert-encoder.js'
import { bareOutputs, maskedVocabularyLogits } from './blocks/heads.js'
import { Scope } from './blocks/scope.js'

/** RoBERTa (Liu et al., 2019, arXiv 1907.11692) and XLM-RoBERTa: BERT whose positions begin after the padding token's id. */
export const roberta = defineArchitecture({
  name: 'roberta',
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'roberta',
  names: (parameter) =>
    parameter.includes('LayerNorm.') ? [parameter.replace(/weight$/, 'gamma').replace(/bias$/, 'beta')] : [],
  unused: (tensor) => /(^|\.)pooler\./.test(tensor),
  // Positions count from after the padding token's id.
  positions: (config) => config.count('max_position_embeddings') - config.whole('pad_token_id', 1) - 1,
  build: (c) => build(c, { path: 'roberta' }),
})

/** Data2Vec, texts (Baevski et al., 2022, arXiv 2202.03555). */
export const data2vecText = defineArchitecture({
  ...roberta,
  name: 'data2vec-text',
  modelTypes: ['data2vec-text'],
  prefix: 'data2vec_text',
  build: (c) => build(c, { path: 'data2vec_text' }),
})
/** Efficient pre-training (Ott et al., 2019, arXiv 1904.01038, fairseq's --encoder-normalize-before). */
export const robertaPreLayerNorm = defineArchitecture({
  ...roberta,
  name: 'roberta-prelayernorm',
  modelTypes: ['roberta-prelayernorm'],
  prefix: 'roberta_prelayernorm',
  build: (c) =>
    build(c, {
      path: 'roberta_prelayernorm',
      before: { attention: 'attention.LayerNorm', feed: 'intermediate.LayerNorm' },
      lastNorm: 'LayerNorm',
    }),
})
/** XLM-RoBERTa XL and XXL (Goyal et al., 2021, arXiv 2105.00572). */
export const xlmRobertaXl = defineArchitecture({
  ...roberta,
  name: 'xlm-roberta-xl',
  modelTypes: ['xlm-roberta-xl'],
  build: (c) =>
    build(c, {
      path: 'roberta',
      bare: true,
      before: { attention: 'attention.self_attn_layer_norm', feed: 'LayerNorm' },
      lastNorm: 'encoder.LayerNorm',
    }),
})

function build(c: ArchitectureContext, variant: BertVariant & { path: string }): Record<string, Value> {
  const { g, config } = c
  const sizes = encoderSizes(config)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : variant.path)
  const inputs = encoderInputs(c)
  const positions = countedPositions(g, inputs.ids, padding(config, sizes.rows))
  const embedded = bertEmbeddings(c, model.in('embeddings'), { ...inputs, positions }, sizes, 1, variant)
  const ties = config.flag('tie_word_embeddings', true)
  const encoded = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded, variant)
  const { lastNorm } = variant
  const hidden = lastNorm ? normAt(model, lastNorm, encoded, sizes.width, sizes.epsilon) : encoded
  if (c.task === 'features') return bareOutputs(model, hidden)
  if (c.task === 'masked-lm')
    return {
      logits: maskedLogits(
        c,
        root.in('lm_head'),
        ties ? model.in('embeddings.word_embeddings').path : undefined,
        sizes,
        hidden,
      ),
    }
  if (c.task === 'token-classification')
    return { logits: root.head('classifier', hidden, sizes.width, c.labels) }
  return { logits: firstTokenLabels(root.in('classifier'), hidden, c.labels) }
}

/** The padding token, whose positions don't count; it must be one of the table's. */
function padding(config: Settings, rows: number): number {
  const pad = config.whole('pad_token_id', 1)
  if (pad < 0 || pad >= rows) throw config.wrong('pad_token_id', `a token below vocab_size, ${rows}`, pad)
  return pad
}

/** pad + 1, pad + 2, … over real tokens; padding stays at pad. */
export function countedPositions(g: Builder, ids: Value, pad: number): Value {
  const real = g.cast(g.not(g.equal(ids, g.int(pad))), 'int64')
  return g.add(g.mul(g.op('CumSum', [real, g.int(1)]), real), g.int(pad))
}

function maskedLogits(
  c: ArchitectureContext,
  at: Scope,
  tied: string | undefined,
  { width, rows, epsilon }: EncoderSizes,
  hidden: Value,
): Value {
  const normed = transformed(at, hidden, { width, epsilon, act: gelu, norm: 'layer_norm' })
  return maskedVocabularyLogits(c, { scope: at, name: 'decoder', width, rows, tied }, normed)
}
