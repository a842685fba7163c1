import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { Cache } from './blocks/attention.js'
import { bartLayer } from './blocks/bart-layer.js'
import { decoderOutputs, vocabularyLogits } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { Scope } from './blocks/scope.js'
import { fairseqFrequency, sinusoids } from './blocks/sinusoids.js'

/** XGLM (Lin et al., 2021, arXiv 2112.10668): fairseq's decoder, with sines for positions. */
export const xglm = defineArchitecture({
  name: 'xglm',
  modelTypes: ['xglm'],
  tasks: ['causal-lm', 'features'],
  prefix: 'model',
  ignores: ['activation_dropout', 'decoder_start_token_id'],
  build: (c) => {
    const { g, config } = c
    const width = config.count(['d_model', 'hidden_size'])
    const table = sinusoids(g, config.count('max_position_embeddings') + 2, width, {
      frequency: fairseqFrequency(width),
      zero: config.whole('pad_token_id', 1),
    })
    return build(c, {
      path: 'model',
      width,
      heads: config.count(['attention_heads', 'num_attention_heads']),
      layers: config.count(['num_layers', 'num_hidden_layers']),
      inner: config.count('ffn_dim'),
      activation: 'activation_function',
      head: 'lm_head',
      placed: (_, positions) => g.gather(table, g.add(positions, g.int(2))),
    })
  },
})

/** BioGPT (Luo et al., 2022, arXiv 2210.10341): the same with learned positions. */
export const biogpt = defineArchitecture({
  name: 'biogpt',
  modelTypes: ['biogpt'],
  tasks: ['causal-lm', 'sequence-classification', 'token-classification', 'features'],
  prefix: 'biogpt',
  ignores: ['activation_dropout', 'layer_norm_eps'],
  build: (c) => {
    const { g, config } = c
    const [width, count] = [config.count('hidden_size'), config.count('max_position_embeddings')]
    return build(c, {
      path: 'biogpt',
      width,
      heads: config.count('num_attention_heads'),
      layers: config.count('num_hidden_layers'),
      inner: config.count('intermediate_size'),
      activation: 'hidden_act',
      head: 'output_projection',
      placed: (at, positions) =>
        at.embedding('embed_positions', g.add(positions, g.int(2)), count + 2, width),
    })
  },
})

interface Fairseq {
  path: string
  width: number
  heads: number
  layers: number
  inner: number
  /** the key that names the activation */
  activation: string
  /** the output layer's module */
  head: string
  placed: (at: Scope, positions: Value) => Value
}
function build(c: ArchitectureContext, model: Fairseq): Record<string, Value> {
  const { g, config } = c
  const { path, width, heads, layers, inner } = model
  const rows = config.count('vocab_size')
  const act = activation(config, model.activation, 'gelu')
  const shape = { width, heads, inner, epsilon: 1e-5, act, before: true }
  const scale = config.flag('scale_embedding', true) ? Math.sqrt(width) : 1
  const root = new Scope(c)
  const at = root.in(c.task === 'features' ? '' : path)
  const inputs = textInputs(c)
  const bias = attentionBias(g, inputs, { causal: true })
  const cache = new Cache(c)
  const tokens = at.embedding('embed_tokens', inputs.ids, rows, width)
  let hidden = at.run(() => g.add(g.scale(tokens, scale), model.placed(at, inputs.positions)))
  for (let i = 0; i < layers; i++)
    hidden = bartLayer(at.in('layers').in(i), shape, hidden, {
      bias,
      extend: (now) => cache.extend(i, now),
    })
  const last = at.layerNorm('layer_norm', hidden, width, shape.epsilon)
  const tied = config.flag('tie_word_embeddings', true) ? at.in('embed_tokens').path : undefined
  const language = () => vocabularyLogits(c, { scope: root, name: model.head, width, rows, tied }, last)
  return { ...decoderOutputs(c, root, last, inputs.mask, language, 'classifier'), ...cache.outputs }
}
