import {
  definePeftMethod,
  dropEncoder,
  GraftError,
  hideFromPoolers,
  type Initialiser,
  normal,
  overwriteKeysAndValues,
  promptKey,
  promptSchema,
  whole,
} from '@graft-peft/core'
import { attentionsOf, keysAndValues, type KvOptions, kvRecord, widthOf } from './keys-and-values.js'

export interface CartridgeOptions extends KvOptions {
  num_frozen_tokens: number
}

/** A trained cache of keys and values in front of every text, its first tokens frozen (Eyuboglu et al., 2025, arXiv 2506.06266);
 *  options as HF PEFT's CartridgeConfig. */
export default definePeftMethod<CartridgeOptions>({
  name: 'cartridge',
  apiVersion: 1,
  peftType: 'CARTRIDGE',
  family: 'prompts',
  summary: 'a trained cache of keys and values, its first tokens frozen',
  paper: 'https://arxiv.org/abs/2506.06266',
  learningRate: 1e-2,
  mergeable: false,
  ownOptions: ['prefix_init_text'],
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    num_frozen_tokens: whole(1),
    prefix_init_text: { type: ['string', 'null'], default: null },
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: false }),
  prepare: async (context, options) =>
    options.prefix_init_text ? keysAndValues(context, options) : undefined,
  attach({ model, g, param, buffer, inference, prepared }, options) {
    const { num_virtual_tokens: count, num_frozen_tokens: frozen } = options
    if (frozen >= count)
      throw new GraftError(
        'BAD_METHOD_OPTION',
        `method cartridge: num_frozen_tokens ${frozen} leaves none of ${count} tokens to train.`,
      )
    const sites = attentionsOf(model)
    const total = 2 * sites.length * widthOf(sites[0])
    const begun: Initialiser = prepared ? () => prepared as Float32Array : normal(1)
    const shape = [count, total]
    const declared = () => {
      // The file holds the whole; what is trained of it are the rows after the frozen ones.
      const start = buffer('prompt_encoder.weight', {
        shape,
        init: begun,
        stored: 'F32',
        replaced: true,
        key: promptKey,
      })
      const rest = param('prompt_encoder.trainable_embedding', {
        shape: [count - frozen, total],
        init: (own, random) =>
          prepared ? (prepared as Float32Array).slice(frozen * total) : normal(1)(own, random),
      })
      return frozen === 0 ? rest : g.concat([g.slice(start, 0, frozen, 0), rest], 0)
    }
    const prefix = inference
      ? param('prompt_encoder.weight', { shape, init: begun, key: promptKey })
      : declared()
    const record = kvRecord(model)
    hideFromPoolers(model, count)
    overwriteKeysAndValues(model, prefix)
    const finish = (tensors: Map<string, unknown>) => {
      dropEncoder(tensors)
      return record
    }
    return { save: () => ({ ...(inference ? {} : { tensors: { [promptKey]: prefix } }), finish }) }
  },
})
