import { defineArchitecture, type ArchitectureContext, type Value } from '@graft-peft/core'
import { gatedDecoder, llamaLike } from './blocks/gated-decoder.js'
import { firstToken, meanToken, vocabularyLogits } from './blocks/heads.js'
import { Scope } from './blocks/scope.js'

/** EuroBERT (Boizard et al., 2025, arXiv 2503.05500): LLaMA that sees later tokens too. */
export const eurobert = defineArchitecture({
  name: 'eurobert',
  modelTypes: ['eurobert'],
  tasks: ['masked-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'model',
  ignores: ['mask_token', 'pad_token', 'bos_token', 'eos_token', 'clf_pooling'],
  build: (c) => {
    const bias = c.config.flag('mlp_bias', false)
    const attentionBias = c.config.flag('attention_bias', false)
    const like = llamaLike(c.config)
    return gatedDecoder(c, {
      ...like,
      qkvBias: attentionBias,
      outputBias: attentionBias,
      feedForward: { ...like.feedForward, bias },
      bidirectional: true,
      outputs: (hidden, mask) => heads(c, hidden, mask, bias),
    })
  },
})

function heads(c: ArchitectureContext, hidden: Value, mask: Value, bias: boolean): Record<string, Value> {
  const { g, config } = c
  const [width, rows] = [config.count('hidden_size'), config.count('vocab_size')]
  const pooling = config.text('classifier_pooling', 'late')
  const ties = config.flag('tie_word_embeddings', false)
  if (c.task === 'features') return { hidden }
  const root = new Scope(c)
  if (c.task === 'token-classification') return { logits: root.head('classifier', hidden, width, c.labels) }
  if (c.task === 'masked-lm') {
    const tied = ties ? 'model.embed_tokens' : undefined
    return { logits: vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, bias, tied }, hidden) }
  }
  const classify = (x: Value): Value => {
    const dense = root.head('dense', x, width, width)
    const activated = root.run(() => g.op('Gelu', [dense], { approximate: 'none' }))
    return root.head('classifier', activated, width, c.labels)
  }
  if (pooling === 'late') return { logits: meanToken(g, classify(hidden), mask) }
  if (pooling !== 'bos' && pooling !== 'mean')
    throw config.wrong('classifier_pooling', 'late, bos or mean', pooling)
  return { logits: classify(pooling === 'bos' ? firstToken(g, hidden) : meanToken(g, hidden, mask)) }
}
