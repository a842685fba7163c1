"""Every model_type's odd options by kind: config-classes/ has a file for each kind."""
from odd_options import *
from odd_options import TYPES as FIRST

choices = lambda key, *values: [dict([(key, v)]) for v in values]
SPARSE = ["causal-lm", "sequence-classification", "causal-lm", "features"]
deepseek = [
    [dict(n_group=2, topk_group=1), dict(n_group=3, topk_group=2)],
    choices("norm_topk_prob", True, False),
    choices("routed_scaling_factor", 2.5),
    choices("first_k_dense_replace", 0, 2),
    choices("n_shared_experts", 2),
]
DEEPSEEK = dict(n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2, moe_intermediate_size=12, first_k_dense_replace=1)
EXPERTS = {
    "mixtral": gated([head_dim, ropes, choices("sliding_window", 3), choices("num_experts_per_tok", 1, 3)], dict(num_local_experts=5, num_key_value_heads=2), QV, SPARSE),
    "qwen2_moe": gated(
        [ropes, choices("norm_topk_prob", True), choices("qkv_bias", False), choices("num_experts_per_tok", 1, 3), choices("shared_expert_intermediate_size", 10), [dict(decoder_sparse_step=2), dict(mlp_only_layers=[0])],
         [dict(use_sliding_window=True, sliding_window=4, max_window_layers=1), *types]],
        dict(num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12, num_key_value_heads=2, shared_expert_intermediate_size=14), QV, SPARSE),
    "qwen3_moe": gated(
        [head_dim, bias, ropes, choices("norm_topk_prob", True), choices("num_experts_per_tok", 1, 3), [dict(decoder_sparse_step=2), dict(mlp_only_layers=[1])], [dict(use_sliding_window=True, sliding_window=4), dict(sliding_window=4)]],
        dict(num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12, head_dim=8), QV, SPARSE),
    "olmoe": gated([bias, ropes, choices("clip_qkv", 0.5), choices("norm_topk_prob", True), choices("num_experts_per_tok", 1, 3)], dict(num_experts=5, num_experts_per_tok=2), QV, ["causal-lm", "features"]),
    "granitemoe": gated([bias, ropes, [dict(embedding_multiplier=3.0, residual_multiplier=0.3)], [dict(attention_multiplier=0.4)], [dict(logits_scaling=4.0)], choices("num_experts_per_tok", 1, 3)], dict(num_local_experts=5), QV, ["causal-lm", "features"]),
    "granitemoeshared": gated([bias, ropes, [dict(embedding_multiplier=3.0, residual_multiplier=0.3)], choices("shared_intermediate_size", 0, 10)], dict(num_local_experts=5, shared_intermediate_size=14), QV + ["input_linear"], ["causal-lm", "features"]),
    "ernie4_5_moe": gated(
        [[dict(use_bias=True)], ropes, choices("moe_k", 1, 3), choices("moe_num_shared_experts", 0, 1), choices("moe_layer_start_index", 0, 2), choices("moe_layer_interval", 2), choices("moe_layer_end_index", 1)],
        dict(moe_num_experts=5, moe_k=2, moe_intermediate_size=12, num_hidden_layers=3), QV, ["causal-lm", "features"]),
    "glm4_moe": gated([head_dim, bias, plain_ropes, [dict(use_qk_norm=True)], choices("partial_rotary_factor", 1.0), *deepseek], dict(head_dim=8, **DEEPSEEK), QV, ["causal-lm", "features"]),
    "dots1": gated([bias, ropes, types, *deepseek], dict(sliding_window=4, **DEEPSEEK), QV, ["causal-lm", "features"]),
    "gpt_oss": gated(
        [head_dim, bias, types, ropes, choices("num_experts_per_tok", 1, 3), [dict(swiglu_limit=0.5)], [dict(swiglu_alpha=1.1)]],
        dict(head_dim=8, num_local_experts=5, num_experts_per_tok=2, sliding_window=4, num_key_value_heads=2), QV, SPARSE),
}
gpt_act = choices("activation_function", "relu", "gelu_new", "silu")
DECODERS = {
    "mpt": dict(
        base=dict(vocab_size=V, d_model=16, n_heads=4, n_layers=2, max_seq_len=96, **IDS),
        odd=[choices("n_heads", 2), [dict(d_model=24, n_heads=6)], choices("attn_config", dict(clip_qkv=0.5), dict(softmax_scale=0.3)), choices("layer_norm_epsilon", 1e-3), tied],
        targets=["Wqkv", "out_proj", "up_proj"],
        tasks=DECODER,
    ),
    "codegen": dict(
        base={**GPT2, "n_embd": 32, "n_head": 4, "rotary_dim": 4},
        odd=[choices("rotary_dim", 8, 2), [dict(n_head=8)], choices("n_inner", 20), gpt_act, choices("layer_norm_epsilon", 1e-3), tied],
        targets=["qkv_proj", "out_proj", "fc_in"],
        tasks=["causal-lm", "features"],
    ),
    "persimmon": dict(base={**GATED, "hidden_size": 32}, odd=[plain_ropes, choices("qk_layernorm", False), choices("partial_rotary_factor", 0.25, 1.0), act, norm_eps, tied], targets=["query_key_value", "dense", "dense_h_to_4h"], tasks=DECODER),
    "xglm": dict(
        base=dict(vocab_size=V, d_model=16, attention_heads=4, num_layers=2, ffn_dim=20, max_position_embeddings=96, dropout=0, attention_dropout=0, bos_token_id=0, eos_token_id=2, pad_token_id=1),
        odd=[choices("scale_embedding", False), gpt_act, choices("attention_heads", 2), choices("pad_token_id", 3), tied],
        targets=QV + ["fc1"],
        tasks=["causal-lm", "features"],
    ),
    "lfm2": dict(
        base={**GATED, "num_key_value_heads": 2, "num_hidden_layers": 3, "full_attn_idxs": [1], "block_auto_adjust_ff_dim": False},
        odd=[heads, plain_ropes, tied, choices("norm_eps", 1e-3), choices("conv_L_cache", 2, 4), [dict(full_attn_idxs=[0, 2]), dict(layer_types=["conv", "conv", "full_attention"])], [dict(block_auto_adjust_ff_dim=True, block_multiple_of=8), dict(block_auto_adjust_ff_dim=True, block_multiple_of=4, block_ffn_dim_multiplier=1.4)]],
        targets=QV + ["in_proj", "out_proj", "w1"],
        tasks=["causal-lm", "causal-lm", "features"],
    ),
    "biogpt": dict(base={**GATED, **NO_DROP, "max_position_embeddings": 96}, odd=[choices("scale_embedding", False), act, norm_eps, tied], targets=QV + ["fc1"], tasks=["causal-lm", "sequence-classification", "causal-lm", "token-classification", "features"]),
}
BART = dict(
    vocab_size=V, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=20, decoder_ffn_dim=24,
    max_position_embeddings=96, dropout=0, attention_dropout=0, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
)
def bart(*odd, **base):
    return dict(base={**BART, **base}, odd=[gpt_act, tied, choices("scale_embedding", True, False), choices("decoder_layers", 1, 3), choices("encoder_layers", 1), *odd], targets=QV + ["fc1"], tasks=["sequence-to-sequence"])
PAIRS = {
    "bart": bart(),
    "mbart": bart(),
    "pegasus": bart(pad_token_id=0, eos_token_id=1),
    "marian": bart([dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=V + 4)], pad_token_id=0, decoder_start_token_id=0),
    "m2m_100": bart(choices("pad_token_id", 3)),
    "blenderbot": bart(),
    "blenderbot-small": bart(),
    "plbart": bart(),
}
ROBERTA = {**ENCODER, **NO_DROP, "pad_token_id": 1}
BERT_ODD = [act, norm_eps, layers, tied]
ATTENTION = r".*\.(query|value|intermediate\.dense|output\.dense)"
types_count = choices("type_vocab_size", 1, 3)
ENCODERS = {
    "albert": dict(base={**ENCODER, "embedding_size": 12, "classifier_dropout_prob": 0.0}, odd=[*BERT_ODD, choices("embedding_size", 16), [dict(num_hidden_groups=2), dict(inner_group_num=2)]], targets=["query", "value", "ffn"], tasks=READER),
    "deberta-v2": dict(
        base={**ENCODER, **NO_DROP, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "max_relative_positions": -1, "position_buckets": 4, "norm_rel_ebd": "layer_norm", "position_biased_input": False},
        odd=[*BERT_ODD, [dict(share_att_key=False), dict(pos_att_type="c2p|p2c"), dict(pos_att_type=["p2c"], share_att_key=False), dict(relative_attention=False)], [dict(position_buckets=-1, max_relative_positions=5), dict(position_buckets=8, max_relative_positions=6)],
             choices("norm_rel_ebd", "none"), choices("position_biased_input", True), choices("type_vocab_size", 2), choices("embedding_size", 12), choices("pooler_hidden_act", "tanh")],
        targets=["query_proj", "value_proj", "dense"], tasks=READER),
    "nomic_bert": dict(base={**ENCODER, **NO_DROP}, odd=[*BERT_ODD, types_count, plain_ropes], targets=QV + MLP, tasks=READER),
    "roformer": dict(base={**ENCODER, **NO_DROP}, odd=[*BERT_ODD, types_count, choices("rotary_value", True), choices("embedding_size", 12)], targets=ATTENTION, tasks=READER),
    "xlm-roberta-xl": dict(base=ROBERTA, odd=[*BERT_ODD, choices("pad_token_id", 3)], targets=ATTENTION, tasks=READER),
    "roberta-prelayernorm": dict(base={**ROBERTA, "type_vocab_size": 1}, odd=[*BERT_ODD, choices("pad_token_id", 3), choices("type_vocab_size", 2)], targets=ATTENTION, tasks=READER),
    "data2vec-text": dict(base={**ROBERTA, "type_vocab_size": 1}, odd=[*BERT_ODD, choices("type_vocab_size", 2)], targets=ATTENTION, tasks=READER),
    "megatron-bert": dict(base={**ENCODER, **NO_DROP}, odd=[*BERT_ODD, types_count], targets=ATTENTION, tasks=READER),
    "ernie": dict(base={**ENCODER, **NO_DROP}, odd=[*BERT_ODD, types_count, [dict(use_task_id=True), dict(use_task_id=True, task_type_vocab_size=5)]], targets=ATTENTION, tasks=READER),
    "esm": dict(
        base={**ENCODER, **NO_DROP, "pad_token_id": 1, "mask_token_id": 7},
        odd=[norm_eps, layers, tied, [dict(position_embedding_type="rotary"), dict(position_embedding_type="rotary", token_dropout=True)], choices("emb_layer_norm_before", True), choices("token_dropout", True)],
        targets=ATTENTION, tasks=READER),
}
SEEN = ["image-classification", "features"]
VIT_ODD = [[dict(num_channels=1)], [dict(patch_size=3), dict(image_size=16)], act, norm_eps]
IMAGES = {
    "vit_msn": dict(base={**IMAGE, **NO_DROP}, odd=[choices("qkv_bias", False), *VIT_ODD], targets=QV, tasks=SEEN),
    "deit": dict(base={**IMAGE, **NO_DROP}, odd=[choices("qkv_bias", False), *VIT_ODD], targets=QV + ["fc1"], tasks=SEEN),
    "beit": dict(
        base={**IMAGE, **NO_DROP, "drop_path_rate": 0.0},
        odd=[*VIT_ODD, choices("use_absolute_position_embeddings", True), choices("use_relative_position_bias", True), choices("use_shared_relative_position_bias", True), choices("layer_scale_init_value", 0.0), choices("use_mean_pooling", False)],
        targets=QV + ["fc1"], tasks=SEEN),
    "dinov2": dict(base={**{k: v for k, v in IMAGE.items() if k != "intermediate_size"}, **NO_DROP}, odd=[choices("qkv_bias", False), choices("mlp_ratio", 2, 3), choices("use_swiglu_ffn", True), *VIT_ODD], targets=QV + ["fc1", "up_proj", "down_proj"], tasks=SEEN),
    "dinov2_with_registers": dict(base={**{k: v for k, v in IMAGE.items() if k != "intermediate_size"}, **NO_DROP}, odd=[choices("num_register_tokens", 2), choices("qkv_bias", False), choices("mlp_ratio", 2), choices("use_swiglu_ffn", True), *VIT_ODD], targets=QV, tasks=SEEN),
    "dinov3_vit": dict(
        base=IMAGE, odd=[choices("num_register_tokens", 2, 4), choices("use_gated_mlp", True), choices("key_bias", True), choices("query_bias", False), choices("mlp_bias", False), choices("rope_theta", 20.0), *VIT_ODD],
        targets=QV + ["up_proj"], tasks=["features"]),
    "siglip_vision_model": dict(base=IMAGE, odd=[*VIT_ODD, choices("num_attention_heads", 2), choices("vision_use_head", False)], targets=r".*encoder.*(q_proj|v_proj|fc1)", tasks=["features"]),
    "siglip": dict(
        base=dict(vision_config=IMAGE, text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=V)),
        odd=[[dict(vision_config=dict(hidden_act="gelu")), dict(vision_config=dict(num_attention_heads=2))], [dict(vision_config=dict(num_channels=1))]],
        targets=QV, tasks=["image-classification"]),
}

KINDS = {"first": FIRST, "decoders": DECODERS, "experts": EXPERTS, "encoders": ENCODERS, "images": IMAGES, "pairs": PAIRS}
TYPES = {name: options for kind in KINDS.values() for name, options in kind.items()}
