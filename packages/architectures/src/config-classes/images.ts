/** Fields of transformers 5.24.0's config classes and their defaults but null, by model_type; made by test/golden/make_config_classes.py. */
// biome-ignore format: a table
export const images: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  vit_msn: {hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072,
    hidden_act: 'gelu', layer_norm_eps: 1e-06, image_size: 224, patch_size: 16, num_channels: 3, qkv_bias:
    true},
  deit: {hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072,
    hidden_act: 'gelu', layer_norm_eps: 1e-12, image_size: 224, patch_size: 16, num_channels: 3, qkv_bias:
    true, encoder_stride: 16, pooler_act: 'tanh'},
  beit: {vocab_size: 8192, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12,
    intermediate_size: 3072, hidden_act: 'gelu', layer_norm_eps: 1e-12, image_size: 224, patch_size: 16,
    num_channels: 3, use_mask_token: false, use_absolute_position_embeddings: false,
    use_relative_position_bias: false, use_shared_relative_position_bias: false, layer_scale_init_value:
    0.1, use_mean_pooling: true, pool_scales: [1, 2, 3, 6], use_auxiliary_head: true, auxiliary_loss_weight:
    0.4, auxiliary_channels: 256, auxiliary_num_convs: 1, auxiliary_concat_input: false,
    semantic_loss_ignore_index: 255, add_fpn: false, reshape_hidden_states: true},
  dinov2: {hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, mlp_ratio: 4, hidden_act:
    'gelu', layer_norm_eps: 1e-06, image_size: 224, patch_size: 14, num_channels: 3, qkv_bias: true,
    layerscale_value: 1.0, use_swiglu_ffn: false, apply_layernorm: true, reshape_hidden_states: true,
    use_mask_token: true},
  dinov2_with_registers: {hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, mlp_ratio: 4,
    hidden_act: 'gelu', layer_norm_eps: 1e-06, image_size: 224, patch_size: 16, num_channels: 3, qkv_bias:
    true, layerscale_value: 1.0, use_swiglu_ffn: false, num_register_tokens: 4, apply_layernorm: true,
    reshape_hidden_states: true},
  dinov3_vit: {patch_size: 16, hidden_size: 384, intermediate_size: 1536, num_hidden_layers: 12,
    num_attention_heads: 6, hidden_act: 'gelu', layer_norm_eps: 1e-05, rope_theta: 100.0, image_size: 224,
    num_channels: 3, query_bias: true, key_bias: false, value_bias: true, proj_bias: true, mlp_bias: true,
    layerscale_value: 1.0, use_gated_mlp: false, num_register_tokens: 0, pos_embed_rescale: 2.0,
    apply_layernorm: true, reshape_hidden_states: true},
  siglip_vision_model: {hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12,
    num_attention_heads: 12, num_channels: 3, image_size: 224, patch_size: 16, hidden_act:
    'gelu_pytorch_tanh', layer_norm_eps: 1e-06, vision_use_head: true},
  siglip: {vision_config: {hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12,
    num_attention_heads: 12, num_channels: 3, image_size: 224, patch_size: 16, hidden_act:
    'gelu_pytorch_tanh', layer_norm_eps: 1e-06, vision_use_head: true}, text_config: {vocab_size: 32000,
    hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12,
    max_position_embeddings: 64, hidden_act: 'gelu_pytorch_tanh', layer_norm_eps: 1e-06}},
}
