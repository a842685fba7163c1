import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { firstTokenLabels, transformed } from './blocks/encoder-heads.js'
import { activation } from './blocks/activations.js'
import { bertEmbeddings, bertEncoder, encoderInputs, encoderSizes } from './blocks/bert-encoder.js'
import { maskedVocabularyLogits } from './blocks/heads.js'
import type { TextInputs } from './blocks/inputs.js'
import { fixedRope, type Rope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** RoFormer (Su et al., 2021, arXiv 2104.09864): BERT whose heads turn with their positions. */
export const roformer = defineArchitecture({
  name: 'roformer',
  modelTypes: ['roformer'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'roformer',
  unused: (tensor) => /(^|\.)pooler\./.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const sizes = encoderSizes(config)
  const { width, heads, rows, epsilon } = sizes
  const narrow = config.count('embedding_size', width)
  const headWidth = Math.floor(width / heads)
  const turnsValues = config.flag('rotary_value', false)
  const act = activation(config, 'hidden_act', 'gelu')
  const ties = config.flag('tie_word_embeddings', true)
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'roformer')
  const inputs = encoderInputs(c)
  const turns = turning(c, model.in('encoder'), inputs, headWidth)
  const { ids, types } = inputs
  const normed = bertEmbeddings(
    c,
    model.in('embeddings'),
    { ids, types },
    { rows, width: narrow, epsilon },
    2,
  )
  const embedded = narrow === width ? normed : model.linear('embeddings_project', normed, narrow, width)
  const hidden = bertEncoder(c, model.in('encoder'), inputs, sizes, embedded, {
    turn: (_, x, part) =>
      part !== 'value' || turnsValues ? rotate(g, x, inputs, turns, headWidth, heads) : x,
  })
  if (c.task === 'features') return { hidden }
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'sequence-classification')
    return { logits: firstTokenLabels(root.in('classifier'), hidden, c.labels, act) }
  const head = root.in('cls.predictions')
  const last = transformed(head.in('transform'), hidden, { width: narrow, epsilon, act })
  const tied = ties ? model.in('embeddings.word_embeddings').path : undefined
  return {
    logits: maskedVocabularyLogits(c, { scope: head, name: 'decoder', width: narrow, rows, tied }, last),
  }
}

/** Sines and cosines, as the checkpoint has them where it does. */
function turning(
  { g, config }: ArchitectureContext,
  encoder: Scope,
  inputs: TextInputs,
  width: number,
): Rope {
  const at = encoder.in('embed_positions')
  if (!at.has('weight')) return fixedRope(g, inputs, width, true)
  const table = at.parameter('weight', [config.count('max_position_embeddings'), width])
  const [sin, cos] = at.run(() => g.split(table, [width / 2, width / 2], 1))
  return { sin, cos, width, interleaved: true }
}
