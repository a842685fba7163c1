"""Reference results per architecture: tiny random models in transformers' format, logits of one batch, and LoRA's first gradients
and ten AdamW steps by HF PEFT. `graft verify test/golden/architectures/llama-rope-yarn` replays one.

  python make_architectures.py OUT [name ...]

Needs torch, transformers and peft (versions.json). Not needed to use or to test Graft: the results are kept beside this file.
"""
import json, os, shutil, sys, warnings

warnings.filterwarnings("ignore")
import peft
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

torch.set_num_threads(2)
V = 40
IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
GATED = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, max_position_embeddings=32, **IDS)
ENCODER = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=32, num_labels=3)
CLIP = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, image_size=8, patch_size=4)
ROPE = lambda **k: dict(rope_parameters=dict(rope_theta=500.0, **k))
QV, ALL = ["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def llama(**k):
    return lambda: tf.LlamaConfig(**{**GATED, **k})


# name: model class, config, LoRA's targets, task
CASES = {
    "llama": (tf.LlamaForCausalLM, llama(hidden_size=18, num_attention_heads=6, num_key_value_heads=3, head_dim=8, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5), ALL, "CAUSAL_LM"),
    "llama-tied-linear": (tf.LlamaForCausalLM, llama(tie_word_embeddings=True, **ROPE(rope_type="linear", factor=2.0)), QV, "CAUSAL_LM"),
    "llama-dynamic": (tf.LlamaForCausalLM, llama(max_position_embeddings=6, **ROPE(rope_type="dynamic", factor=2.0)), QV, "CAUSAL_LM"),
    "llama-yarn": (tf.LlamaForCausalLM, llama(**ROPE(rope_type="yarn", factor=4.0, original_max_position_embeddings=8)), QV, "CAUSAL_LM"),
    "llama-llama3": (tf.LlamaForCausalLM, llama(head_dim=16, **ROPE(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)), QV, "CAUSAL_LM"),
    "llama-bfloat16": (tf.LlamaForCausalLM, llama(), QV, "CAUSAL_LM"),
    "llama-float16-sharded": (tf.LlamaForCausalLM, llama(), QV, "CAUSAL_LM"),
    "llama-classifier": (tf.LlamaForSequenceClassification, llama(num_labels=3), QV, "SEQ_CLS"),
    "mistral": (tf.MistralForCausalLM, lambda: tf.MistralConfig(**{**GATED, "sliding_window": 4, "head_dim": 6}), QV, "CAUSAL_LM"),
    "qwen2": (tf.Qwen2ForCausalLM, lambda: tf.Qwen2Config(**GATED, use_sliding_window=True, sliding_window=4, max_window_layers=1), ALL, "CAUSAL_LM"),
    "qwen3": (tf.Qwen3ForCausalLM, lambda: tf.Qwen3Config(**GATED, head_dim=8, attention_bias=True, tie_word_embeddings=True), ALL, "CAUSAL_LM"),
    "phi3": (tf.Phi3ForCausalLM, lambda: tf.Phi3Config(**{**GATED, "sliding_window": 5}, rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)), ["qkv_proj", "gate_up_proj"], "CAUSAL_LM"),
    "phi3-longrope": (tf.Phi3ForCausalLM, lambda: tf.Phi3Config(**GATED, original_max_position_embeddings=8, rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1], long_factor=[1.5, 3.0], original_max_position_embeddings=8)), ["qkv_proj"], "CAUSAL_LM"),
    "gemma2": (tf.Gemma2ForCausalLM, lambda: tf.Gemma2Config(**GATED, head_dim=6, query_pre_attn_scalar=7, sliding_window=4, attn_logit_softcapping=5.0, final_logit_softcapping=3.0), QV, "CAUSAL_LM"),
    "gemma3": (tf.Gemma3ForCausalLM, lambda: tf.Gemma3TextConfig(**{**GATED, "num_hidden_layers": 3}, head_dim=6, query_pre_attn_scalar=7, sliding_window=4, layer_types=["sliding_attention", "sliding_attention", "full_attention"]), QV, "CAUSAL_LM"),
    "gpt-neox": (tf.GPTNeoXForCausalLM, lambda: tf.GPTNeoXConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=32, use_parallel_residual=False, **IDS), ["query_key_value", "dense"], "CAUSAL_LM"),
    "gpt-neox-parallel": (tf.GPTNeoXForCausalLM, lambda: tf.GPTNeoXConfig(vocab_size=V, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=24, max_position_embeddings=32, attention_bias=False, rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5), **IDS), ["query_key_value"], "CAUSAL_LM"),
    "gptj": (tf.GPTJForCausalLM, lambda: tf.GPTJConfig(vocab_size=V, n_embd=24, n_layer=2, n_head=3, n_positions=32, rotary_dim=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **IDS), QV, "CAUSAL_LM"),
    "gpt2": (tf.GPT2LMHeadModel, lambda: tf.GPT2Config(vocab_size=V, n_embd=18, n_layer=2, n_head=3, n_positions=32, n_inner=20, scale_attn_by_inverse_layer_idx=True, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **IDS), ["c_attn", "c_fc"], "CAUSAL_LM"),
    "opt": (tf.OPTForCausalLM, lambda: tf.OPTConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, ffn_dim=24, max_position_embeddings=32, word_embed_proj_dim=12, dropout=0, do_layer_norm_before=False, **IDS), QV, "CAUSAL_LM"),
    "opt-before": (tf.OPTForCausalLM, lambda: tf.OPTConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24, max_position_embeddings=32, word_embed_proj_dim=16, dropout=0, **IDS), ["q_proj", "fc1"], "CAUSAL_LM"),
    "bloom": (tf.BloomForCausalLM, lambda: tf.BloomConfig(vocab_size=V, hidden_size=24, n_layer=2, n_head=6, hidden_dropout=0, attention_dropout=0, **IDS), ["query_key_value"], "CAUSAL_LM"),
    "bloom-after": (tf.BloomForCausalLM, lambda: tf.BloomConfig(vocab_size=V, hidden_size=16, n_layer=2, n_head=2, hidden_dropout=0, attention_dropout=0, apply_residual_connection_post_layernorm=True, **IDS), ["query_key_value"], "CAUSAL_LM"),
    "bert": (tf.BertForSequenceClassification, lambda: tf.BertConfig(**ENCODER, hidden_act="relu", hidden_dropout_prob=0, attention_probs_dropout_prob=0), ["query", "value", "dense"], "SEQ_CLS"),
    "bert-tokens": (tf.BertForTokenClassification, lambda: tf.BertConfig(**ENCODER, hidden_dropout_prob=0, attention_probs_dropout_prob=0), ["query", "value"], "TOKEN_CLS"),
    "roberta": (tf.RobertaForSequenceClassification, lambda: tf.RobertaConfig(**{**ENCODER, "max_position_embeddings": 36}, pad_token_id=1, type_vocab_size=1, hidden_dropout_prob=0, attention_probs_dropout_prob=0), ["query", "value"], "SEQ_CLS"),
    "distilbert": (tf.DistilBertForSequenceClassification, lambda: tf.DistilBertConfig(vocab_size=V, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=32, num_labels=3, dropout=0, attention_dropout=0, seq_classif_dropout=0), ["q_lin", "v_lin"], "SEQ_CLS"),
    "modernbert": (tf.ModernBertForSequenceClassification, lambda: tf.ModernBertConfig(**ENCODER, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, local_attention=6, classifier_pooling="mean", norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True), ["Wqkv", "Wo"], "SEQ_CLS"),
    "t5": (tf.T5ForConditionalGeneration, lambda: tf.T5Config(vocab_size=V, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_decoder_layers=1, num_heads=3, dropout_rate=0, relative_attention_num_buckets=8, relative_attention_max_distance=12, decoder_start_token_id=0), ["q", "v"], "SEQ_2_SEQ_LM"),
    "t5-gated": (tf.T5ForConditionalGeneration, lambda: tf.T5Config(vocab_size=V, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, dropout_rate=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0), ["q", "v", "wi_0"], "SEQ_2_SEQ_LM"),
    "vit": (tf.ViTForImageClassification, lambda: tf.ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=12, patch_size=4, num_channels=1, num_labels=3, qkv_bias=False, hidden_dropout_prob=0, attention_probs_dropout_prob=0), QV, None),
    "clip": (tf.CLIPForImageClassification, lambda: tf.CLIPConfig(vision_config=CLIP, text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=V, **IDS), num_labels=3), QV, None),
}


def batch_for(config, task):
    g = torch.Generator().manual_seed(7)
    if task is None:
        c = getattr(config, "vision_config", config)
        return dict(pixel_values=torch.randn(3, c.num_channels, c.image_size, c.image_size, generator=g)), torch.tensor([0, 1, 2])
    ids, mask = torch.randint(3, V, (3, 10), generator=g), torch.ones(3, 10, dtype=torch.long)
    mask[1, 7:] = 0
    ids[mask == 0] = config.pad_token_id or 0
    inputs = dict(input_ids=ids, attention_mask=mask)
    if task == "SEQ_CLS":
        return inputs, torch.tensor([0, 1, 2])
    if task == "SEQ_2_SEQ_LM":
        labels = torch.randint(3, V, (3, 6), generator=g)
        labels[2, 4:] = -100
        return inputs, labels
    labels = torch.randint(0, 3, (3, 10), generator=g) if task == "TOKEN_CLS" else ids.clone()
    labels[mask == 0] = -100
    labels[0, :3] = -100
    return inputs, labels


def main():
    out, names = sys.argv[1], sys.argv[2:] or list(CASES)
    for name in names:
        cls, config, targets, task = CASES[name]
        root = os.path.join(out, name)
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        torch.manual_seed(11)
        config = config()
        config._attn_implementation = "eager"
        model = cls(config)
        with torch.no_grad():  # every parameter distinct: norms off one, biases off zero
            for p in model.parameters():
                p.add_(torch.randn_like(p) * (0.1 if p.ndim < 2 else 0.08))
        dtype = torch.bfloat16 if "bfloat16" in name else torch.float16 if "float16" in name else torch.float32
        model = model.to(dtype).eval()
        model.save_pretrained(os.path.join(root, "model"), **(dict(max_shard_size="4KB") if "sharded" in name else {}))
        for extra in ("generation_config.json",):
            path = os.path.join(root, "model", extra)
            if os.path.exists(path):
                os.remove(path)
        model = cls.from_pretrained(os.path.join(root, "model"), attn_implementation="eager", dtype=torch.float32).eval()
        inputs, labels = batch_for(config, task)
        save_file({**{k: v.contiguous() for k, v in inputs.items()}, "labels": labels}, os.path.join(root, "batch.safetensors"))
        with torch.no_grad():
            o = model(**inputs, labels=labels)
        save_file({"logits": o.logits.contiguous(), "loss": o.loss.reshape(1)}, os.path.join(root, "forward.safetensors"))
        torch.manual_seed(23)
        adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False, **(dict(task_type=task) if task else {}))).eval()
        d = os.path.join(root, "lora")
        adapted.save_pretrained(os.path.join(d, "start"))
        train = [(n.replace(".default", "").replace("modules_to_save.", ""), p) for n, p in adapted.named_parameters() if p.requires_grad]
        save_file({n: p.detach().clone().contiguous() for n, p in train}, os.path.join(d, "parameters.safetensors"))
        settings = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)
        optimizer, losses = torch.optim.AdamW([p for _, p in train], **settings), []
        for step in range(10):
            optimizer.zero_grad()
            loss = adapted(**inputs, labels=labels).loss
            losses.append(float(loss))
            loss.backward()
            if step == 0:
                save_file({n: p.grad.clone().contiguous() for n, p in train}, os.path.join(d, "gradients.safetensors"))
            optimizer.step()
        with torch.no_grad():
            losses.append(float(adapted(**inputs, labels=labels).loss))
        adapted.save_pretrained(os.path.join(d, "end"))
        json.dump({"method": "lora", "losses": losses, "optimizer": dict(name="AdamW", clip=None, **settings)}, open(os.path.join(d, "trajectory.json"), "w"), indent=1)
        for path, _, files in os.walk(root):
            for f in files:
                if f == "README.md":
                    os.remove(os.path.join(path, f))
        print(name, round(losses[0], 4), round(losses[-1], 4), flush=True)


main()
