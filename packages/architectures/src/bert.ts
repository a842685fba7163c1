import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import {
  bertEmbeddings,
  bertEncoder,
  encoderInputs,
  type EncoderSizes,
  encoderSizes,
} from './blocks/bert-encoder.js'
import { bareOutputs, firstToken, maskedVocabularyLogits } from './blocks/heads.js'
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
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const sizes = encoderSizes(config)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'bert')
  const inputs = encoderInputs(c)
  const embedded = bertEmbeddings(c, model.in('embeddings'), inputs, sizes, 2)
  const ties = config.flag('tie_word_embeddings', true)
  const hidden = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded)
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
  const dense = model.in('pooler').head('dense', firstToken(g, hidden), sizes.width, sizes.width)
  return {
    logits: root.head(
      'classifier',
      model.in('pooler').run(() => g.tanh(dense)),
      sizes.width,
      c.labels,
    ),
  }
}

function maskedLogits(
  c: ArchitectureContext,
  root: Scope,
  tied: string | undefined,
  { width, rows, epsilon }: EncoderSizes,
  hidden: Value,
): Value {
  const at = root.in('cls.predictions')
  const dense = at.in('transform').linear('dense', hidden, width, width)
  const normed = at.in('transform').layerNorm(
    'LayerNorm',
    at.run(() => activation(c.config, 'hidden_act', 'gelu')(c.g, dense)),
    width,
    epsilon,
  )
  return maskedVocabularyLogits(c, { scope: at, name: 'decoder', width, rows, tied }, normed)
}
