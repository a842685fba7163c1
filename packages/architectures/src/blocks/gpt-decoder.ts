import type { ArchitectureContext, Value } from '@graft-peft/core'
import { Cache } from './attention.js'
import { decoderOutputs, vocabularyLogits } from './heads.js'
import { textInputs, type TextInputs } from './inputs.js'
import { Scope } from './scope.js'

/** What a layer of a model that descends from GPT-2 does between its norms. */
export interface GptLayer {
  attention: (at: Scope, i: number, x: Value) => Value
  feedForward: (at: Scope, x: Value) => Value
}
export interface GptContext {
  width: number
  heads: number
  headWidth: number
  inputs: TextInputs
  cache: Cache
}

/** A decoder with learned positions and two norms a layer: GPT-2 (Radford et al., 2019) and its kin. */
export function gptDecoder(
  c: ArchitectureContext,
  layerOf: (context: GptContext) => GptLayer,
): Record<string, Value> {
  const { g, config } = c
  const width = config.count(['n_embd', 'hidden_size'])
  const heads = config.count(['n_head', 'num_heads', 'num_attention_heads'])
  const layers = config.count(['n_layer', 'num_layers', 'num_hidden_layers'])
  const [rows, epsilon] = [config.count('vocab_size'), config.number('layer_norm_epsilon', 1e-5)]
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const cache = new Cache(c)
  const { attention, feedForward } = layerOf({
    width,
    heads,
    headWidth: Math.floor(width / heads),
    inputs,
    cache,
  })
  const tokens = model.embedding('wte', inputs.ids, rows, width)
  const count = config.count(['n_positions', 'max_position_embeddings'])
  const places = model.embedding('wpe', inputs.positions, count, width)
  let hidden = model.run(() => g.add(tokens, places))
  for (let i = 0; i < layers; i++) {
    const at = model.in('h').in(i)
    const x = hidden
    const attended = attention(at.in('attn'), i, at.layerNorm('ln_1', x, width, epsilon))
    const after = at.run(() => g.add(attended, x))
    const fed = feedForward(at.in('mlp'), at.layerNorm('ln_2', after, width, epsilon))
    hidden = at.run(() => g.add(after, fed))
  }
  const last = model.layerNorm('ln_f', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', true) ? model.in('wte').path : undefined
  const language = () => vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, tied }, last)
  return { ...decoderOutputs(c, root, last, inputs.mask, language, 'classifier'), ...cache.outputs }
}
