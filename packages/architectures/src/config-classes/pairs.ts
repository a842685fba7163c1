/** Fields of transformers 5.24.0's config classes and their defaults but null, by model_type; made by test/golden/make_config_classes.py. */
// biome-ignore format: a table
export const pairs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bart: {vocab_size: 50265, max_position_embeddings: 1024, encoder_layers: 12, encoder_ffn_dim: 4096,
    encoder_attention_heads: 16, decoder_layers: 12, decoder_ffn_dim: 4096, decoder_attention_heads: 16,
    activation_function: 'gelu', d_model: 1024, scale_embedding: false, is_decoder: false,
    tie_word_embeddings: true},
  mbart: {vocab_size: 50265, max_position_embeddings: 1024, encoder_layers: 12, encoder_ffn_dim: 4096,
    encoder_attention_heads: 16, decoder_layers: 12, decoder_ffn_dim: 4096, decoder_attention_heads: 16,
    activation_function: 'gelu', d_model: 1024, scale_embedding: false, is_decoder: false,
    tie_word_embeddings: true},
  pegasus: {vocab_size: 50265, max_position_embeddings: 1024, encoder_layers: 12, encoder_ffn_dim: 4096,
    encoder_attention_heads: 16, decoder_layers: 12, decoder_ffn_dim: 4096, decoder_attention_heads: 16,
    activation_function: 'gelu', d_model: 1024, scale_embedding: false, is_decoder: false,
    tie_word_embeddings: true},
  marian: {vocab_size: 58101, max_position_embeddings: 1024, encoder_layers: 12, encoder_ffn_dim: 4096,
    encoder_attention_heads: 16, decoder_layers: 12, decoder_ffn_dim: 4096, decoder_attention_heads: 16,
    activation_function: 'gelu', d_model: 1024, scale_embedding: false, share_encoder_decoder_embeddings:
    true, is_decoder: false, tie_word_embeddings: true},
  m2m_100: {vocab_size: 128112, max_position_embeddings: 1024, encoder_layers: 12, encoder_ffn_dim: 4096,
    encoder_attention_heads: 16, decoder_layers: 12, decoder_ffn_dim: 4096, decoder_attention_heads: 16,
    activation_function: 'relu', d_model: 1024, scale_embedding: true, tie_word_embeddings: true},
  blenderbot: {vocab_size: 8008, max_position_embeddings: 128, encoder_layers: 2, encoder_ffn_dim: 10240,
    encoder_attention_heads: 32, decoder_layers: 24, decoder_ffn_dim: 10240, decoder_attention_heads: 32,
    activation_function: 'gelu', d_model: 2560, scale_embedding: false, encoder_no_repeat_ngram_size: 3,
    is_decoder: false, tie_word_embeddings: true},
  'blenderbot-small': {vocab_size: 50265, max_position_embeddings: 512, encoder_layers: 8, encoder_ffn_dim:
    2048, encoder_attention_heads: 16, decoder_layers: 8, decoder_ffn_dim: 2048, decoder_attention_heads:
    16, activation_function: 'gelu', d_model: 512, scale_embedding: false, is_decoder: false,
    tie_word_embeddings: true},
  plbart: {vocab_size: 50005, max_position_embeddings: 1024, encoder_layers: 6, encoder_ffn_dim: 3072,
    encoder_attention_heads: 12, decoder_layers: 6, decoder_ffn_dim: 3072, decoder_attention_heads: 12,
    activation_function: 'gelu', d_model: 768, scale_embedding: true, is_decoder: false,
    tie_word_embeddings: true},
}
