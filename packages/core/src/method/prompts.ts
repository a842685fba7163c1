import type { Model } from '../model/model.js'
import { embeddingWidth } from '../model/virtual-tokens.js'
import { optionSchema, positive } from './schema.js'

/** Options of HF PEFT's PromptLearningConfig. All but the number of tokens follow from the model; files record them. */
export interface PromptOptions {
  num_virtual_tokens: number
}
const recorded = { type: ['integer', 'null'], default: null } as const
/** A prompt method's options: the number of virtual tokens, 20 where left out, and the method's own. */
export const promptSchema = (properties: object) =>
  optionSchema({
    num_virtual_tokens: positive(20),
    token_dim: recorded,
    num_attention_heads: recorded,
    num_layers: recorded,
    num_transformer_submodules: { enum: [1, 2, null], default: null },
    ...properties,
  })

/** The key under which HF PEFT stores every kind of learned prompt. */
export const promptKey = 'prompt_embeddings'

/** Leaves the prompt alone in a file: the network that made it stays behind. */
export function dropEncoder(tensors: Map<string, unknown>): void {
  for (const key of tensors.keys()) if (key !== promptKey) tensors.delete(key)
}

/** What HF PEFT's file records of the model. */
export function promptRecord(model: Model): Record<string, number> {
  const { config, attentions } = model
  const heads = config.num_attention_heads ?? config.n_head ?? attentions[0]?.heads ?? 1
  return {
    token_dim: embeddingWidth(model),
    num_attention_heads: Number(heads),
    num_layers: attentions.length,
    num_transformer_submodules: 1,
  }
}
