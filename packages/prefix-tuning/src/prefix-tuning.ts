import {
  definePeftMethod,
  dropEncoder,
  flag,
  GraftError,
  hideFromPoolers,
  type Initialiser,
  normal,
  overwriteKeysAndValues,
  promptKey,
  promptSchema,
  uniform,
  type Value,
  zeros,
} from '@graft-peft/core'
import { attentionsOf, keysAndValues, type KvOptions, kvRecord, widthOf } from './keys-and-values.js'

export interface PrefixOptions extends KvOptions {
  prefix_projection: boolean
  encoder_hidden_size: number | null
  init_weights: 'zero' | null
}

/** Learned keys and values in front of every layer's own (Li and Liang, 2021, arXiv 2101.00190); options as HF PEFT's PrefixTuningConfig. */
export default definePeftMethod<PrefixOptions>({
  name: 'prefix-tuning',
  apiVersion: 1,
  peftType: 'PREFIX_TUNING',
  family: 'prompts',
  summary: 'learned keys and values in front of every layer',
  paper: 'https://arxiv.org/abs/2101.00190',
  learningRate: 1e-2,
  mergeable: false,
  ownOptions: ['prefix_init_text'],
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    prefix_projection: flag(false),
    encoder_hidden_size: { type: ['integer', 'null'], minimum: 1, default: null },
    init_weights: { enum: ['zero', null], default: null },
    prefix_init_text: { type: ['string', 'null'], default: null },
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: false }),
  async prepare(context, options) {
    if (!options.prefix_init_text) return undefined
    if (options.prefix_projection)
      throw new GraftError(
        'BAD_METHOD_OPTION',
        'method prefix-tuning: prefix_init_text fills the prefix itself, so it needs prefix_projection: false.',
      )
    return keysAndValues(context, options)
  },
  attach({ model, g, param, inference, prepared }, options) {
    const { num_virtual_tokens: count, prefix_projection } = options
    const sites = attentionsOf(model)
    const kv = widthOf(sites[0])
    const total = 2 * sites.length * kv
    const hidden = options.encoder_hidden_size ?? kv
    const project = (x: Value): Value => {
      const layer = (y: Value, name: string, into: number, out: number) => {
        const init = uniform(1 / Math.sqrt(into))
        const own = (part: string, shape: number[]) =>
          param(`prompt_encoder.transform.${name}.${part}`, { shape, init })
        return g.add(g.linear(y, own('weight', [out, into])), own('bias', [out]))
      }
      return layer(g.tanh(layer(x, '0', kv, hidden)), '2', hidden, total)
    }
    // A file holds the prefix itself, never the network that made it.
    const projected = prefix_projection && !inference
    const init: Initialiser = prepared
      ? () => prepared as Float32Array
      : options.init_weights === 'zero'
        ? zeros
        : normal(1)
    const embedding = param('prompt_encoder.embedding.weight', {
      shape: [count, projected ? kv : total],
      init,
      key: projected ? undefined : promptKey,
    })
    const prefix = projected ? project(embedding) : embedding
    const record = { ...kvRecord(model), encoder_hidden_size: hidden }
    hideFromPoolers(model, count)
    overwriteKeysAndValues(model, prefix)
    const finish = (tensors: Map<string, unknown>) => {
      dropEncoder(tensors)
      return record
    }
    return { save: () => ({ ...(projected ? { tensors: { [promptKey]: prefix } } : {}), finish }) }
  },
})
