import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { pooledFirst, transformed } from './blocks/encoder-heads.js'
import { activation } from './blocks/activations.js'
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

/** BERT (Devlin et al., 2019, arXiv 1810.04805). */
export const bert = defineArchitecture({
  name: 'bert',
  modelTypes: ['bert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'bert',
  // Checkpoints of the first release call a norm's parameters gamma and beta.
  names: (parameter) =>
    parameter.includes('LayerNorm.') ? [parameter.replace(/weight$/, 'gamma').replace(/bias$/, 'beta')] : [],
  // A head for what isn't built, and poolers.
  ignores: [
    'pooler_fc_size',
    'pooler_num_attention_heads',
    'pooler_num_fc_layers',
    'pooler_size_per_head',
    'pooler_type',
    'directionality',
    'type_pooler',
  ],
  unused: (tensor) => /(^|\.)pooler\./.test(tensor),
  build: (c) => build(c, { path: 'bert' }),
})

/** Megatron's BERT (Shoeybi et al., 2019, arXiv 1909.08053): norms before attention and feed-forward. */
export const megatronBert = defineArchitecture({
  ...bert,
  name: 'megatron-bert',
  modelTypes: ['megatron-bert'],
  build: (c) =>
    build(c, {
      path: 'bert',
      bare: true,
      before: { attention: 'attention.ln', feed: 'ln' },
      lastNorm: 'encoder.ln',
    }),
})

/** ERNIE (Sun et al., 2019, arXiv 1904.09223): BERT whose tokens may tell by which task they were trained. */
export const ernieEncoder = defineArchitecture({
  ...bert,
  name: 'ernie',
  modelTypes: ['ernie'],
  prefix: 'ernie',
  build: (c) => {
    const { g, config } = c
    const kinds = config.count('task_type_vocab_size', 3)
    const told = config.flag('use_task_id', false)
    const first = (at: Scope, ids: Value) =>
      at.embedding('task_type_embeddings', g.mul(ids, g.int(0)), kinds, config.count('hidden_size'))
    return build(c, { path: 'ernie', others: (at, ids) => (told ? [first(at, ids)] : []) })
  },
})

interface BertModel extends BertVariant {
  path: string
  others?: (at: Scope, ids: Value) => readonly Value[]
}
function build(c: ArchitectureContext, variant: BertModel): Record<string, Value> {
  const { config } = c
  const sizes = encoderSizes(config)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : variant.path)
  const inputs = encoderInputs(c)
  const place = model.in('embeddings')
  const embedded = bertEmbeddings(c, place, inputs, sizes, 2, {
    bare: variant.bare,
    others: variant.others?.(place, inputs.ids),
  })
  const ties = config.flag('tie_word_embeddings', true)
  const encoded = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded, variant)
  const { lastNorm } = variant
  const hidden = lastNorm ? normAt(model, lastNorm, encoded, sizes.width, sizes.epsilon) : encoded
  if (c.task === 'features') return bareOutputs(model, hidden)
  if (c.task === 'masked-lm')
    return {
      logits: maskedLogits(
        c,
        root,
        ties ? model.in('embeddings.word_embeddings').path : undefined,
        sizes,
        hidden,
      ),
    }
  if (c.task === 'token-classification')
    return { logits: root.head('classifier', hidden, sizes.width, c.labels) }
  return { logits: root.head('classifier', pooledFirst(model.in('pooler'), hidden), sizes.width, c.labels) }
}

function maskedLogits(
  c: ArchitectureContext,
  root: Scope,
  tied: string | undefined,
  { width, rows, epsilon }: EncoderSizes,
  hidden: Value,
): Value {
  const at = root.in('cls.predictions')
  const act = activation(c.config, 'hidden_act', 'gelu')
  const normed = transformed(at.in('transform'), hidden, { width, epsilon, act })
  return maskedVocabularyLogits(c, { scope: at, name: 'decoder', width, rows, tied }, normed)
}
