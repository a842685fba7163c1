import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { gelu } from './blocks/activations.js'
import { firstTokenLabels, transformed } from './blocks/encoder-heads.js'
import { bertEmbeddings, bertEncoder, encoderInputs, encoderSizes } from './blocks/bert-encoder.js'
import { vocabularyLogits } from './blocks/heads.js'
import { Scope } from './blocks/scope.js'

/** ELECTRA (Clark et al., 2020, arXiv 2003.10555): BERT whose embeddings may be narrower than its layers. */
export const electra = defineArchitecture({
  name: 'electra',
  modelTypes: ['electra'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'electra',
  ignores: ['summary_type', 'summary_use_proj', 'summary_activation', 'summary_last_dropout'],
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { config } = c
  const sizes = encoderSizes(config)
  const { width, rows, epsilon } = sizes
  const narrow = config.count('embedding_size', width)
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'electra')
  const inputs = encoderInputs(c)
  const normed = bertEmbeddings(c, model.in('embeddings'), inputs, { rows, width: narrow, epsilon }, 2)
  const embedded = narrow === width ? normed : model.linear('embeddings_project', normed, narrow, width)
  const hidden = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded)
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification')
    return { logits: firstTokenLabels(root.in('classifier'), hidden, c.labels, gelu) }
  const last = transformed(root.in('generator_predictions'), hidden, { width: narrow, epsilon, act: gelu })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return {
    logits: vocabularyLogits(
      c,
      { scope: root, name: 'generator_lm_head', width: narrow, rows, bias: true, tied },
      last,
    ),
  }
}
