import { type Architecture, type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { configClasses } from './config-classes/index.js'
import { gemma3 } from './gemma.js'
import { llama } from './llama.js'
import { ministral3, mistral } from './mistral.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'

/** Language parts, by the model_type of text_config. */
const parts: readonly Architecture[] = [gemma3, llama, mistral, ministral3, qwen2, qwen3]
/** What text_config is where it doesn't say. */
const usual: Readonly<Record<string, string>> = { gemma3: 'gemma3_text', mistral3: 'mistral', llava: 'llama' }

/** The language part of a model that sees images too, with its paths in the whole: Gemma 3, Mistral Small 3.1, LLaVA. */
export const multimodal = defineArchitecture({
  name: 'multimodal',
  modelTypes: Object.keys(usual),
  tasks: ['causal-lm', 'features'],
  prefix: 'model',
  // Files of before transformers 5 have the language model outside.
  names: (parameter) =>
    parameter.startsWith('model.language_model.')
      ? [parameter.replace('model.language_model.', 'language_model.model.')]
      : parameter.startsWith('lm_head.')
        ? [`language_model.${parameter}`]
        : [],
  // What images alone go through.
  ignores: [
    ...parts.flatMap(({ ignores = [] }) => ignores),
    'vision_config',
    'image_token_index',
    'image_token_id',
    'boi_token_index',
    'eoi_token_index',
    'mm_tokens_per_image',
    'projector_hidden_act',
    'multimodal_projector_bias',
    'spatial_merge_size',
    'vision_feature_layer',
    'vision_feature_select_strategy',
    'image_seq_length',
    'image_grid_pinpoints',
  ],
  unused: (tensor) => /(^|\.)(vision_tower|multi_modal_projector|vision_model)\./.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const whole = c.config.text('model_type')
  const own = c.config.nested('text_config')
  if (!own) throw c.config.wrong('text_config', 'an object', undefined)
  const type = own.text('model_type', usual[whole])
  const part = parts.find((a) => a.modelTypes.includes(type))
  if (!part)
    throw c.config.wrong('text_config.model_type', parts.flatMap((a) => a.modelTypes).join(', '), type)
  const config = c.config.nested('text_config', configClasses[type])
  // The whole model's own say; it doesn't cap logits.
  const tie_word_embeddings = c.config.flag('tie_word_embeddings', true)
  return part.build({
    ...c,
    config: config?.with({ tie_word_embeddings, final_logit_softcapping: null }) ?? own,
    within: 'language_model',
  })
}
