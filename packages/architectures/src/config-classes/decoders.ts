/** Fields of transformers 5.24.0's config classes and their defaults but null, by model_type; made by test/golden/make_config_classes.py. */
// biome-ignore format: a table
export const decoders: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  mpt: {d_model: 2048, n_heads: 16, n_layers: 24, expansion_ratio: 4, max_seq_len: 2048, vocab_size: 50368,
    layer_norm_epsilon: 1e-05, learned_pos_emb: true, init_device: 'cpu', no_bias: true, embedding_fraction:
    1.0, norm_type: 'low_precision_layernorm', tie_word_embeddings: true},
  codegen: {vocab_size: 50400, n_positions: 2048, n_ctx: 2048, n_embd: 4096, n_layer: 28, n_head: 16,
    rotary_dim: 64, activation_function: 'gelu_new', layer_norm_epsilon: 1e-05, tie_word_embeddings: false},
  persimmon: {vocab_size: 262144, hidden_size: 4096, intermediate_size: 16384, num_hidden_layers: 36,
    num_attention_heads: 64, hidden_act: 'relu2', max_position_embeddings: 16384, layer_norm_eps: 1e-05,
    tie_word_embeddings: false, qk_layernorm: true, rope_theta: 10000.0},
  xglm: {vocab_size: 256008, max_position_embeddings: 2048, d_model: 1024, ffn_dim: 4096, num_layers: 24,
    attention_heads: 16, activation_function: 'gelu', scale_embedding: true, add_cross_attention: false,
    tie_word_embeddings: true},
  lfm2: {vocab_size: 65536, hidden_size: 2560, intermediate_size: 12288, num_hidden_layers: 32,
    num_attention_heads: 32, num_key_value_heads: 8, max_position_embeddings: 128000, norm_eps: 1e-05,
    tie_word_embeddings: true, conv_bias: false, conv_L_cache: 3, block_multiple_of: 256,
    block_ffn_dim_multiplier: 1.0, block_auto_adjust_ff_dim: true, rope_theta: 1000000.0},
  biogpt: {vocab_size: 42384, hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16,
    intermediate_size: 4096, hidden_act: 'gelu', max_position_embeddings: 1024, layer_norm_eps: 1e-12,
    scale_embedding: true, tie_word_embeddings: true},
}
