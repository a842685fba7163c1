/** Keys of a config.json and their values. */
export type Fields = Readonly<Record<string, unknown>>

/** What any config.json may say without changing what its model computes (transformers' PreTrainedConfig and GenerationConfig). */
const names: readonly RegExp[] = [
  // who wrote it, with what, and how it is stored or loaded
  /^(architectures|model_type|transformers_version|transformers\.js_config|_?name_or_path|_commit_hash|auto_map)$/,
  /^(torch_dtype|dtype|torchscript|use_bfloat16|tokenizer_class|processor_class|license|base_model_tp_plan)$/,
  /^(_?attn_implementation\w*|_flash_attn_2_enabled|use_flash_attn|use_kernels|unsloth_\w+|model_name)$/,
  // labels, told apart elsewhere
  /^(num_labels|id2label|label2id|_num_labels|problem_type|finetuning_task|task_specific_params)$/,
  // tokens and lengths that data and generation heed
  /token_ids?$/,
  /^(max_position_embeddings|n_positions|max_sequence_length|seq_length|model_max_length|prefix)$/,
  // training alone
  /(^|_)(dropout|pdrop|layerdrop|drop_path_rate)(_|$)|^initializer_|^init_(std|method|scale)|^use_cache$/,
  /^(gradient_checkpointing|router_aux_loss_coef|output_router_logits|rescale_\w+|label_smoothing)$/,
  // how generation picks tokens
  /^(max|min)_(length|new_tokens)$|^(num_beams|num_beam_groups|do_sample|early_stopping|top_k|top_p|temperature)$/,
  /_penalty$|_ngram_size$|^(typical_p|bad_words_ids|num_return_sequences|output_scores|return_dict_in_generate)$/,
  /^(remove_invalid_values|suppress_tokens|begin_suppress_tokens|output_(past|attentions|hidden_states))$/,
  /^(return_dict|use_return_dict|chunk_size_feed_forward|cross_attention_hidden_size|pretraining_tp)$/,
  // the rope of a kind of layer that the model doesn't have
  /(^|\.)rope_(parameters|scaling)\.\w+_attention$/,
]

/** Keys that are harmless as long as they say no. */
const off: Readonly<Record<string, unknown>> = {
  is_decoder: false,
  is_encoder_decoder: false,
  add_cross_attention: false,
  tie_encoder_decoder: false,
  pruned_heads: {},
  use_mrope: false,
  position_embedding_type: 'absolute',
}

/** Whether a key that nothing reads may have this value; a nested one as one of the whole. */
export function isHarmless(path: string, value: unknown): boolean {
  const key = path.slice(path.lastIndexOf('.') + 1)
  return (
    value === null ||
    names.some((name) => name.test(path) || name.test(key)) ||
    (key in off && JSON.stringify(off[key]) === JSON.stringify(value))
  )
}
