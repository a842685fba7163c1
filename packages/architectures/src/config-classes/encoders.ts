/** Fields of transformers 5.24.0's config classes and their defaults but null, by model_type; made by test/golden/make_config_classes.py. */
// biome-ignore format: a table
export const encoders: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  albert: {vocab_size: 30000, embedding_size: 128, hidden_size: 4096, num_hidden_layers: 12,
    num_hidden_groups: 1, num_attention_heads: 64, intermediate_size: 16384, inner_group_num: 1, hidden_act:
    'gelu_new', max_position_embeddings: 512, type_vocab_size: 2, layer_norm_eps: 1e-12,
    tie_word_embeddings: true},
  'deberta-v2': {vocab_size: 128100, hidden_size: 1536, num_hidden_layers: 24, num_attention_heads: 24,
    intermediate_size: 6144, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 0,
    layer_norm_eps: 1e-07, relative_attention: false, max_relative_positions: -1, position_biased_input:
    true, pooler_hidden_act: 'gelu', legacy: true, tie_word_embeddings: true},
  nomic_bert: {vocab_size: 30528, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: 3072, hidden_act: 'silu', max_position_embeddings: 2048, type_vocab_size: 2,
    layer_norm_eps: 1e-12, rope_theta: 1000.0},
  roformer: {vocab_size: 50000, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: 3072, hidden_act: 'gelu', max_position_embeddings: 1536, type_vocab_size: 2,
    layer_norm_eps: 1e-12, rotary_value: false, is_decoder: false, add_cross_attention: false,
    tie_word_embeddings: true},
  'xlm-roberta-xl': {vocab_size: 250880, hidden_size: 2560, num_hidden_layers: 36, num_attention_heads: 32,
    intermediate_size: 10240, hidden_act: 'gelu', max_position_embeddings: 514, type_vocab_size: 1,
    layer_norm_eps: 1e-05, is_decoder: false, add_cross_attention: false, tie_word_embeddings: true},
  'roberta-prelayernorm': {vocab_size: 50265, hidden_size: 768, num_hidden_layers: 12, num_attention_heads:
    12, intermediate_size: 3072, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 2,
    layer_norm_eps: 1e-12, is_decoder: false, add_cross_attention: false, tie_word_embeddings: true},
  'data2vec-text': {vocab_size: 30522, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: 3072, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 2,
    layer_norm_eps: 1e-12, is_decoder: false, add_cross_attention: false, tie_word_embeddings: true},
  'megatron-bert': {vocab_size: 29056, hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16,
    intermediate_size: 4096, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 2,
    layer_norm_eps: 1e-12, is_decoder: false, add_cross_attention: false, tie_word_embeddings: true},
  ernie: {vocab_size: 30522, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: 3072, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 2,
    task_type_vocab_size: 3, use_task_id: false, layer_norm_eps: 1e-12, is_decoder: false,
    add_cross_attention: false, tie_word_embeddings: true},
  esm: {hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072,
    max_position_embeddings: 1026, rope_theta: 10000.0, layer_norm_eps: 1e-12, position_embedding_type:
    'absolute', is_folding_model: false, is_decoder: false, add_cross_attention: false, tie_word_embeddings:
    true},
}
