"""Tiny GGUF files, written and unpacked by the gguf package, with what transformers makes of their numbers.

  python make_gguf.py OUT [name ...]

One JSON file a case: the GGUF file (gzip, base64), what each tensor unpacks to (its sum with numbers that follow from its name), logits and
gradients as make_models.py has them, of the numbers rounded to float16, as Graft keeps them; `tool` has the logits of transformers' own reading of
the file's weights, in float32. gguf packs no blocks of 256, so those are random bits with small scales. Needs torch, transformers, peft and gguf 0.19.
"""
import json, tempfile

import gguf
import numpy as np
import torch
import transformers as tf
from gguf import GGMLQuantizationType as T

from answers import answered, write_cases
from make_models import pack, values

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
SMALL = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=48, max_position_embeddings=64, rms_norm_eps=1e-5)
LLAMA3 = dict(rope_type="llama3", rope_theta=5000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
CASES = {
    "llama-q8_0": ("llama", dict(SMALL, tie_word_embeddings=True, rope_parameters=dict(rope_type="linear", rope_theta=700.0, factor=4.0)), {"": T.Q8_0, "token_embd": T.F16}),
    "qwen2-q4_0": ("qwen2", dict(SMALL, rope_parameters=dict(rope_type="default", rope_theta=700.0)), {"": T.Q4_0, "token_embd": T.Q8_0, "output": T.BF16}),
    "qwen3-q5_0": ("qwen3", dict(SMALL, head_dim=32, rope_parameters=dict(rope_type="default", rope_theta=700.0)), {"": T.Q5_0, "ffn_gate": T.Q5_1, "ffn_up": T.Q4_1, "output": T.F32}),
    "llama-q4_k": (
        "llama",
        dict(SMALL, hidden_size=256, num_hidden_layers=1, head_dim=32, intermediate_size=64, rope_parameters=LLAMA3),
        {"": T.Q4_K, "attn_k": T.Q5_K, "attn_v": T.Q6_K, "attn_output": T.Q8_0, "ffn_up": T.Q3_K, "ffn_down": T.Q4_0, "output": T.Q2_K, "token_embd": T.Q6_K},
    ),
}
# Where a block of 256 values keeps its half-precision scales.
SCALES = {T.Q2_K: (80, 82), T.Q3_K: (108,), T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,)}


def gguf_name(name):
    module, end = name.rsplit(".", 1)
    if module in NAMES:
        return f"{NAMES[module]}.{end}"
    _, _, layer, part = module.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{end}"


def interleave(w, heads):
    """As llama.cpp's converter orders the rows of llama's queries and keys."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def back(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def quantised(name, w, kind):
    if kind not in SCALES:
        return gguf.quantize(w, kind)
    size, bytes_ = gguf.GGML_QUANT_SIZES[kind]
    r = np.random.default_rng(sum(name.encode()))
    blocks = r.integers(0, 256, (w.size // size, bytes_), dtype=np.uint8)
    for at in SCALES[kind]:
        blocks[:, at : at + 2] = r.uniform(1e-4, 3e-4, (len(blocks), 1)).astype(np.float16).view(np.uint8)
    return blocks.reshape(w.shape[0], -1)


def write(path, kind, config, model, types):
    """Writes the file, gives the model its numbers; returns what tensors unpack to."""
    c = model.config
    w = gguf.GGUFWriter(path, kind)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_vocab_size(c.vocab_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    rope = config["rope_parameters"]
    w.add_rope_freq_base(rope["rope_theta"])
    if "head_dim" in config:
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
    if kind == "llama":
        w.add_rope_dimension_count(c.head_dim)
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    w.add_chat_template("{{ messages[0].content }}")
    if rope["rope_type"] == "llama3":
        inv = 1 / (rope["rope_theta"] ** (np.arange(0, c.head_dim, 2) / c.head_dim))
        own = model.model.rotary_emb.inv_freq.double().numpy()
        w.add_tensor("rope_freqs.weight", (inv / own).astype(np.float32))
    sums = {}
    for name, p in model.named_parameters():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        data = p.detach().numpy()
        heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}.get(name.split(".")[-2]) if kind == "llama" else None
        own = gguf_name(name)
        t = T.F32 if p.ndim == 1 else types.get(own.split(".")[-2], types[""])
        raw = quantised(name, interleave(data, heads) if heads else data, t)
        w.add_tensor(own, raw, raw_dtype=t)
        meant = gguf.dequantize(raw, t).reshape(data.shape)
        meant = back(meant, heads) if heads else meant
        sums[name] = float((torch.from_numpy(meant.copy()).double() * values(f"{name} sum", list(meant.shape)).double()).sum())
        kept = meant if t in (T.F32, T.BF16) else meant.astype(np.float16)
        p.data.copy_(torch.from_numpy(kept.astype(np.float32)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return sums


def make(name):
    kind, config, types = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        json.dump({"model_type": kind, **config}, open(f"{folder}/config.json", "w"))
        model = tf.AutoModelForCausalLM.from_config(tf.AutoConfig.from_pretrained(folder), attn_implementation="eager").float().eval()
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(values(n, list(p.shape)))
        sums = write(f"{folder}/model.gguf", kind, config, model, types)
        stored = open(f"{folder}/model.gguf", "rb").read()
        inputs = dict(input_ids=torch.randint(4, 48, (2, 9), generator=torch.Generator().manual_seed(7)), attention_mask=torch.ones(2, 9, dtype=torch.long))
        case = dict(type=name, seed=0, task="causal-lm", config={}, tensors={}, sums=sums)
        # transformers reads no scaled rope and no width of heads from a GGUF file: the config is given.
        tool = tf.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file="model.gguf", config=model.config, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        with torch.no_grad():
            case["tool"] = pack(tool(**inputs).logits)
    return answered(case, stored, model, inputs, ["q_proj", "v_proj", "o_proj", "down_proj"])


if __name__ == "__main__":
    write_cases(CASES, make)
