import {
  definePeftMethod,
  embeddingWidth,
  oneOf,
  overwriteEmbeddings,
  promptKey,
  promptRecord,
  promptSchema,
} from '@graft-peft/core'
import { initialiser, initTokens, type StartOptions, textOptions, tokenizerRecord } from './start.js'

/** Learned embeddings in front of every text (Lester et al., 2021, arXiv 2104.08691); options as HF PEFT's PromptTuningConfig. */
export default definePeftMethod<StartOptions>({
  name: 'prompt-tuning',
  apiVersion: 1,
  peftType: 'PROMPT_TUNING',
  family: 'prompts',
  summary: 'learned embeddings in front of every text',
  paper: 'https://arxiv.org/abs/2104.08691',
  learningRate: 1e-2,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    prompt_tuning_init: oneOf(['RANDOM', 'SAMPLE_VOCAB', 'TEXT'], 'SAMPLE_VOCAB'),
    ...textOptions,
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: true }),
  prepare: initTokens,
  attach({ model, param, prepared }, options) {
    const shape = [options.num_virtual_tokens, embeddingWidth(model)]
    const prompt = param('prompt_encoder.embedding.weight', {
      shape,
      init: initialiser(model, options, prepared as number[] | undefined),
      key: promptKey,
    })
    const record = { ...promptRecord(model), ...tokenizerRecord(model, options) }
    overwriteEmbeddings(model, prompt)
    return { save: () => ({ finish: () => record }) }
  },
})
