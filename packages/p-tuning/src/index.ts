import {
  definePeftMethod,
  dropEncoder,
  embeddingWidth,
  normal,
  oneOf,
  overwriteEmbeddings,
  positive,
  promptKey,
  type PromptOptions,
  promptRecord,
  promptSchema,
  share,
} from '@graft-peft/core'
import { lstm, mlp } from './encoder.js'

interface PTuningOptions extends PromptOptions {
  encoder_reparameterization_type: 'MLP' | 'LSTM'
  encoder_hidden_size: number | null
  encoder_num_layers: number
  encoder_dropout: number
}

/** Prompt embeddings made by a small trained network (Liu et al., 2021, arXiv 2103.10385); options as HF PEFT's PromptEncoderConfig. */
export default definePeftMethod<PTuningOptions>({
  name: 'p-tuning',
  apiVersion: 1,
  peftType: 'P_TUNING',
  family: 'prompts',
  summary: 'learned prompts, reparametrised by an MLP or LSTM',
  paper: 'https://arxiv.org/abs/2103.10385',
  learningRate: 3e-3,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    encoder_reparameterization_type: oneOf(['MLP', 'LSTM'], 'MLP'),
    encoder_hidden_size: { type: ['integer', 'null'], minimum: 1, default: null },
    encoder_num_layers: positive(2),
    encoder_dropout: share(0),
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: true }),
  attach({ model, g, param, dropout, inference }, options) {
    const width = embeddingWidth(model)
    const shape = [options.num_virtual_tokens, width]
    const record = { ...promptRecord(model), encoder_hidden_size: options.encoder_hidden_size ?? width }
    // A file holds what the network made, not the network.
    if (inference) {
      overwriteEmbeddings(model, param('prompt_encoder.output', { shape, init: normal(1), key: promptKey }))
      return {}
    }
    const embedding = param('prompt_encoder.embedding.weight', { shape, init: normal(1) })
    const encoder = options.encoder_reparameterization_type === 'MLP' ? mlp : lstm
    const sizes = { width, hidden: record.encoder_hidden_size, layers: options.encoder_num_layers }
    const prompt = encoder(
      { g, param, drop: (x, name) => dropout(x, options.encoder_dropout, name) },
      embedding,
      sizes,
    )
    overwriteEmbeddings(model, prompt)
    const finish = (tensors: Map<string, unknown>) => {
      dropEncoder(tensors)
      return record
    }
    return { save: () => ({ tensors: { [promptKey]: prompt }, finish }) }
  },
})
