"""Odd options per model_type: make_models.py draws one of each group, or none."""

V = 24
IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
GATED = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, max_position_embeddings=64, **IDS)
ENCODER = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, max_position_embeddings=48, pad_token_id=0)
IMAGE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, image_size=12, patch_size=4)
DECODER = ["causal-lm", "sequence-classification", "causal-lm", "token-classification", "causal-lm", "features"]
READER = ["sequence-classification", "token-classification", "masked-lm", "features"]
QV, MLP = ["q_proj", "v_proj"], ["gate_proj", "up_proj", "down_proj"]

heads = [dict(num_key_value_heads=n) for n in (1, 2, 4)]
head_dim = [dict(head_dim=n) for n in (6, 8, 10)]
eps = [dict(rms_norm_eps=e) for e in (1e-5, 1e-3)]
norm_eps = [dict(layer_norm_eps=e) for e in (1e-5, 1e-3)]
act = [dict(hidden_act=a) for a in ("gelu", "relu", "gelu_new", "silu", "gelu_pytorch_tanh")]
tied = [dict(tie_word_embeddings=True), dict(tie_word_embeddings=False)]
bias = [dict(attention_bias=True), dict(attention_bias=False)]
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8)
ropes = [
    dict(rope_theta=500.0),
    dict(rope_parameters=dict(rope_type="default", rope_theta=300.0)),
    dict(rope_theta=1000.0, rope_scaling=dict(type="linear", factor=2.0)),
    dict(rope_parameters=dict(rope_theta=500.0, rope_type="dynamic", factor=2.0), max_position_embeddings=8),
    dict(rope_parameters=dict(rope_theta=500.0, **YARN)),
    dict(rope_parameters=dict(rope_theta=500.0, **YARN, beta_fast=16.0, beta_slow=2.0, attention_factor=0.7)),
    dict(rope_theta=700.0, rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)),
]
plain_ropes = [dict(rope_theta=500.0), dict(rope_parameters=dict(rope_type="default", rope_theta=300.0))]
types = [dict(layer_types=["full_attention", "sliding_attention"], sliding_window=4), dict(layer_types=["sliding_attention", "sliding_attention"], sliding_window=3)]
layers = [dict(num_hidden_layers=1), dict(num_hidden_layers=3)]


def gated(odd=(), base=(), targets=QV + MLP, tasks=DECODER):
    return dict(base={**GATED, **dict(base)}, odd=[heads, eps, act, tied, *odd], targets=targets, tasks=tasks)


GEMMA = [head_dim, bias, [dict(query_pre_attn_scalar=n) for n in (4, 11)], [dict(final_logit_softcapping=c) for c in (2.0, 5.0, None)], types]
NO_DROP = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
GPT2 = dict(vocab_size=V, n_embd=16, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **IDS)
T5 = dict(vocab_size=V, d_model=16, d_kv=6, d_ff=20, num_layers=2, num_heads=3, dropout_rate=0, decoder_start_token_id=0)
T5_ODD = [
    [dict(feed_forward_proj=p) for p in ("relu", "gated-gelu", "gated-silu")],
    [dict(relative_attention_num_buckets=8, relative_attention_max_distance=12)],
    [dict(num_decoder_layers=1)],
    tied,
    [dict(layer_norm_epsilon=1e-4)],
]

TYPES = {
    "llama": gated([head_dim, bias, [dict(mlp_bias=True)], ropes, [dict(partial_rotary_factor=0.5), {}]]),
    "mistral": gated([head_dim, ropes, [dict(sliding_window=n) for n in (3, 5, None)]], dict(sliding_window=4)),
    "qwen2": gated([ropes, [dict(use_sliding_window=True, sliding_window=4, max_window_layers=1), *types, dict(sliding_window=4)]]),
    "qwen3": gated([head_dim, bias, ropes, types], dict(head_dim=8)),
    "phi3": gated(
        [
            [dict(sliding_window=4)],
            [
                dict(rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5)),
                dict(original_max_position_embeddings=8, rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1], long_factor=[1.5, 3.0])),
                dict(original_max_position_embeddings=32, rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1], long_factor=[1.5, 3.0])),
                dict(partial_rotary_factor=0.5),
            ],
        ],
        targets=["qkv_proj", "gate_up_proj", "down_proj"],
    ),
    "gemma2": gated([*GEMMA, [dict(attn_logit_softcapping=c) for c in (1.0, None)]], dict(head_dim=8)),
    "gemma3_text": gated(
        [*GEMMA, [dict(attn_logit_softcapping=2.0)], [dict(use_bidirectional_attention=True)], [dict(rope_theta=900.0, rope_local_base_freq=50.0), dict(rope_scaling=dict(rope_type="linear", factor=3.0))]],
        dict(head_dim=8, sliding_window=6),
        tasks=["causal-lm", "sequence-classification", "features"],
    ),
    "gemma": gated([head_dim, bias, [dict(hidden_act="gelu"), dict(hidden_act="relu")], plain_ropes], dict(head_dim=8)),
    "ministral": gated([head_dim, ropes, types, [dict(sliding_window=None)]], dict(sliding_window=4)),
    "ministral3": gated(
        [head_dim, [dict(rope_parameters=dict(rope_theta=500.0, llama_4_scaling_beta=0.4, original_max_position_embeddings=4, rope_type="yarn", factor=4.0, beta_fast=16.0, beta_slow=2.0, mscale=1.0, mscale_all_dim=1.0))], [dict(sliding_window=4)]],
        dict(rope_parameters=dict(rope_type="default", rope_theta=200.0, llama_4_scaling_beta=0.1, original_max_position_embeddings=3)),
    ),
    "granite": gated([bias, [dict(mlp_bias=True)], ropes, [dict(embedding_multiplier=3.0, residual_multiplier=0.3)], [dict(attention_multiplier=0.4)], [dict(logits_scaling=4.0)]], tasks=["causal-lm", "causal-lm", "features"]),
    "smollm3": gated([bias, [dict(mlp_bias=True)], ropes, [dict(no_rope_layer_interval=2), dict(no_rope_layers=[0, 1])], [dict(use_sliding_window=True, sliding_window=4), dict(sliding_window=4)]]),
    "seed_oss": gated([head_dim, bias, [dict(mlp_bias=True)], [dict(attention_out_bias=True)], ropes], dict(head_dim=8)),
    "ernie4_5": gated([head_dim, [dict(use_bias=True)], ropes], dict(head_dim=4), tasks=["causal-lm", "features"]),
    "helium": gated([bias, [dict(mlp_bias=True)], ropes], dict(head_dim=4)),
    "hunyuan_v1_dense": gated([head_dim, bias, [*ropes, dict(rope_parameters=dict(rope_type="ntk_alpha", alpha=50.0, rope_theta=100.0))]], dict(head_dim=8), tasks=["causal-lm", "sequence-classification"]),
    "arcee": gated([head_dim, bias, [dict(mlp_bias=True)], ropes], targets=QV + ["up_proj", "down_proj"]),
    "internlm3": gated([head_dim, ropes, [dict(qkv_bias=True, bias=True), dict(attention_bias=True, mlp_bias=True)]], dict(head_dim=8), tasks=["causal-lm", "features"]),
    "cwm": gated([head_dim, [dict(mlp_bias=True)], types, ropes], dict(head_dim=8, sliding_window=4, num_key_value_heads=2), tasks=["causal-lm", "features"]),
    "exaone4": gated([[dict(sliding_window=3, sliding_window_pattern=2), dict(sliding_window=4, layer_types=["sliding_attention", "full_attention"])], ropes], dict(sliding_window=None)),
    "olmo": gated([bias, ropes, [dict(clip_qkv=0.5)]], tasks=["causal-lm", "sequence-classification", "features"]),
    "olmo2": gated([bias, ropes], tasks=["causal-lm", "sequence-classification", "features"]),
    "olmo3": gated([bias, types, [dict(rope_theta=300.0), dict(rope_theta=300.0, rope_scaling=YARN)]], dict(sliding_window=5), tasks=["causal-lm", "sequence-classification", "features"]),
    "cohere": gated([bias, plain_ropes, [dict(use_qk_norm=True)], [dict(logit_scale=0.5)], norm_eps], tasks=["causal-lm", "features"]),
    "cohere2": gated([bias, plain_ropes, types, [dict(logit_scale=0.5)], norm_eps], dict(sliding_window=4), tasks=["causal-lm", "features"]),
    "glm": gated([head_dim, bias, plain_ropes, [dict(partial_rotary_factor=1.0), dict(partial_rotary_factor=0.25)]], dict(head_dim=8), targets=QV + ["gate_up_proj", "down_proj"]),
    "glm4": gated([head_dim, bias, plain_ropes, [dict(partial_rotary_factor=1.0)]], dict(head_dim=8), targets=QV + ["gate_up_proj", "down_proj"]),
    "phi": gated([plain_ropes, [dict(qk_layernorm=True)], [dict(partial_rotary_factor=1.0)], norm_eps], dict(resid_pdrop=0, embd_pdrop=0), targets=QV + ["dense", "fc1", "fc2"]),
    "stablelm": gated([plain_ropes, [dict(qk_layernorm=True)], [dict(use_qkv_bias=True)], [dict(use_parallel_residual=True)], [dict(partial_rotary_factor=0.5)], norm_eps], dict(hidden_size=32)),
    "starcoder2": gated([ropes, [dict(use_bias=False)], [dict(sliding_window=4)], [dict(norm_epsilon=1e-3)]], dict(residual_dropout=0, embedding_dropout=0), targets=QV + ["c_fc", "c_proj"]),
    "nemotron": gated([head_dim, bias, [dict(mlp_bias=True)], plain_ropes, [dict(partial_rotary_factor=0.25)], [dict(norm_eps=1e-3)]], dict(head_dim=8), targets=QV + ["up_proj", "down_proj"]),
    "apertus": gated([bias, [dict(hidden_act="xielu")], ropes], tasks=["causal-lm", "token-classification", "features"], targets=QV + ["up_proj", "down_proj"]),
    "gpt_neox": dict(
        base={**GATED, "hidden_size": 24},
        odd=[[dict(use_parallel_residual=False)], [dict(rotary_pct=0.5), dict(rotary_emb_base=200)], bias, tied, act, norm_eps, [dict(rope_scaling=dict(type="linear", factor=2.0))]],
        targets=["query_key_value", "dense", "dense_h_to_4h"],
        tasks=DECODER,
    ),
    "gptj": dict(
        base={**GPT2, "n_head": 2, "rotary_dim": 4},
        odd=[[dict(rotary_dim=8), dict(rotary_dim=2)], [dict(n_inner=20)], [dict(activation_function="relu")], [dict(layer_norm_epsilon=1e-3)]],
        targets=QV + ["fc_in"],
        tasks=["causal-lm", "sequence-classification", "features"],
    ),
    "gpt2": dict(
        base=GPT2,
        odd=[[dict(n_inner=20)], [dict(activation_function="relu")], [dict(scale_attn_weights=False)], [dict(scale_attn_by_inverse_layer_idx=True)], [dict(reorder_and_upcast_attn=True)], tied],
        targets=["c_attn", "c_fc"],
        tasks=DECODER,
    ),
    "gpt_bigcode": dict(
        base=GPT2,
        odd=[[dict(n_inner=20)], [dict(activation_function="relu")], [dict(scale_attn_weights=False)], [dict(multi_query=False)], tied],
        targets=["c_attn", "c_fc"],
        tasks=DECODER,
    ),
    "gpt_neo": dict(
        base=dict(vocab_size=V, hidden_size=16, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4, max_position_embeddings=64, **IDS),
        odd=[[dict(intermediate_size=20)], [dict(activation_function="relu")], [dict(attention_types=[[["local"], 2]], window_size=3)], tied],
        targets=["q_proj", "v_proj", "c_fc"],
        tasks=DECODER,
    ),
    "falcon": dict(
        base={**{k: v for k, v in GATED.items() if k != "intermediate_size"}, "ffn_hidden_size": 20},
        odd=[[dict(multi_query=False), dict(new_decoder_architecture=True, num_kv_heads=2), dict(new_decoder_architecture=True, num_kv_heads=4, num_ln_in_parallel_attn=1)], [dict(parallel_attn=False)], [dict(bias=True)], [dict(activation="relu")], plain_ropes, tied],
        targets=["query_key_value", "dense", "dense_h_to_4h"],
        tasks=DECODER,
    ),
    "opt": dict(
        base=dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, ffn_dim=20, max_position_embeddings=64, dropout=0, **IDS),
        odd=[[dict(word_embed_proj_dim=12), dict(word_embed_proj_dim=16)], [dict(do_layer_norm_before=False)], [dict(enable_bias=False)], [dict(activation_function="gelu")], [dict(_remove_final_layer_norm=True)]],
        targets=QV + ["fc1"],
        tasks=["causal-lm", "sequence-classification", "features"],
    ),
    "bloom": dict(
        base=dict(vocab_size=V, hidden_size=16, n_layer=2, n_head=4, hidden_dropout=0, attention_dropout=0, **IDS),
        odd=[[dict(n_head=2), dict(hidden_size=24, n_head=6)], [dict(apply_residual_connection_post_layernorm=True)], [dict(layer_norm_epsilon=1e-3)], tied],
        targets=["query_key_value", "dense"],
        tasks=DECODER,
    ),
    "bert": dict(base={**ENCODER, **NO_DROP}, odd=[act, norm_eps, [dict(type_vocab_size=3)], layers, tied], targets=["query", "value", "dense"], tasks=READER),
    "roberta": dict(base={**ENCODER, **NO_DROP, "pad_token_id": 1, "type_vocab_size": 1}, odd=[act, norm_eps, [dict(pad_token_id=3)], [dict(type_vocab_size=2)], layers, tied], targets=["query", "value"], tasks=READER),
    "xlm-roberta": dict(base={**ENCODER, **NO_DROP, "pad_token_id": 1, "type_vocab_size": 1}, odd=[act, norm_eps, layers], targets=["query", "value"], tasks=READER),
    "camembert": dict(base={**ENCODER, **NO_DROP, "pad_token_id": 1, "type_vocab_size": 1}, odd=[act, norm_eps, layers], targets=["query", "value"], tasks=READER),
    "distilbert": dict(
        base=dict(vocab_size=V, dim=16, n_layers=2, n_heads=4, hidden_dim=20, max_position_embeddings=48, dropout=0, attention_dropout=0, seq_classif_dropout=0, pad_token_id=0),
        odd=[[dict(activation="relu")], [dict(sinusoidal_pos_embds=True)], [dict(n_heads=2)], tied],
        targets=["q_lin", "v_lin"],
        tasks=READER,
    ),
    "modernbert": dict(
        base={**ENCODER, **IDS, "cls_token_id": 1, "sep_token_id": 2, "num_hidden_layers": 3},
        odd=[[dict(local_attention=6), dict(local_attention=4)], [dict(classifier_pooling="mean")], [dict(norm_bias=True, attention_bias=True)], [dict(mlp_bias=True)], [dict(classifier_bias=True)],
             [dict(decoder_bias=False)], [dict(global_attn_every_n_layers=2)], [dict(global_rope_theta=900.0, local_rope_theta=90.0)], [dict(hidden_activation="relu")], [dict(norm_eps=1e-3)], tied],
        targets=["Wqkv", "Wo"],
        tasks=READER,
    ),
    "electra": dict(base={**ENCODER, **NO_DROP, "embedding_size": 16}, odd=[act, norm_eps, [dict(embedding_size=12)], [dict(type_vocab_size=3)], tied], targets=["query", "value"], tasks=READER),
    "mpnet": dict(base={**ENCODER, **NO_DROP, "pad_token_id": 1}, odd=[act, norm_eps, layers, tied, [dict(relative_attention_num_buckets=32)]], targets=["q", "v", "o"], tasks=READER),
    "eurobert": gated([bias, [dict(mlp_bias=True)], ropes, [dict(classifier_pooling=p) for p in ("late", "bos", "mean")]], tasks=READER),
    "t5": dict(base=T5, odd=T5_ODD, targets=["q", "v", "wo"], tasks=["sequence-to-sequence"]),
    "mt5": dict(base=T5, odd=T5_ODD, targets=["q", "v", "wo"], tasks=["sequence-to-sequence"]),
    "umt5": dict(base=T5, odd=T5_ODD, targets=["q", "v", "wo"], tasks=["sequence-to-sequence"]),
    "gemma3": dict(
        base=dict(text_config=dict(model_type="gemma3_text", **{**GATED, "head_dim": 8, "sliding_window": 6, "num_key_value_heads": 2}), vision_config=dict(model_type="siglip_vision_model", **IMAGE), mm_tokens_per_image=4),
        odd=[[dict(text_config=dict(query_pre_attn_scalar=7)), dict(text_config=dict(num_key_value_heads=1))], [dict(text_config=dict(rope_theta=900.0))], [dict(text_config=dict(final_logit_softcapping=3.0))]],
        targets=r".*language_model.*\.(q_proj|v_proj|up_proj)",
        tasks=["causal-lm"],
    ),
    "mistral3": dict(
        base=dict(text_config=dict(model_type="mistral", **{**GATED, "num_key_value_heads": 2, "sliding_window": 4}), vision_config=dict(model_type="pixtral", **IMAGE)),
        odd=[[dict(text_config=dict(head_dim=6))], [dict(text_config=dict(rope_theta=900.0))]],
        targets=r".*language_model.*\.(q_proj|v_proj|up_proj)",
        tasks=["causal-lm"],
    ),
    "llava": dict(
        base=dict(text_config=dict(model_type="llama", **{**GATED, "num_key_value_heads": 2}), vision_config=dict(model_type="clip_vision_model", **IMAGE), image_token_index=23),
        odd=[[dict(text_config=dict(attention_bias=True))], [dict(text_config=dict(rope_theta=900.0))]],
        targets=r".*language_model.*\.(q_proj|v_proj|up_proj)",
        tasks=["causal-lm"],
    ),
    "vit": dict(base={**IMAGE, **NO_DROP}, odd=[[dict(qkv_bias=False)], [dict(num_channels=1)], [dict(patch_size=3), dict(image_size=16)], act, norm_eps], targets=QV, tasks=["image-classification"]),
    "clip": dict(
        base=dict(vision_config=IMAGE, text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=V, **IDS)),
        odd=[[dict(vision_config=dict(hidden_act="gelu")), dict(vision_config=dict(num_attention_heads=2))], [dict(vision_config=dict(num_channels=1))]],
        targets=QV,
        tasks=["image-classification"],
    ),
    "clip_vision_model": dict(base=IMAGE, odd=[act, [dict(num_attention_heads=2)], norm_eps], targets=QV, tasks=["features"]),
}
