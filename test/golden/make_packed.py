"""Tiny models whose weights tools have packed, with the logits and LoRA gradients of what the tools themselves unpack.

  python make_packed.py OUT [name ...]

One JSON file a case: config.json, model.safetensors (gzip, base64), inputs, logits, gradients as make_models.py has them. Needs torch,
transformers, peft, bitsandbytes 0.50 and compressed-tensors 0.20; GPTQ, AWQ and FP8 are packed by their formats' definitions, AWQ judged by
AutoAWQ's packing_utils.py where AWQ_PACKING names it, FP8 and MXFP4 by transformers.
"""
import importlib.util, json, os, tempfile

import bitsandbytes.functional as bnb
import torch
import transformers as tf
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme, apply_quantization_config
from safetensors.torch import load_file, save_file

from answers import answered, write_cases
from make_models import values

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LLAMA = dict(
    model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=64, intermediate_size=96, num_hidden_layers=1,
    num_attention_heads=4, num_key_value_heads=2, vocab_size=48, attention_bias=True, rms_norm_eps=1e-5, rope_theta=700.0,
    max_position_embeddings=64, tie_word_embeddings=False,
)
GPT_OSS = dict(
    model_type="gpt_oss", architectures=["GptOssForCausalLM"], hidden_size=32, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=48, num_local_experts=3, num_experts_per_tok=2,
    layer_types=["full_attention"], max_position_embeddings=64, tie_word_embeddings=False,
    rope_parameters=dict(rope_type="default", rope_theta=700.0),
)
TARGETS = ["q_proj", "v_proj", "o_proj", "down_proj"]


def plain(config):
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(f"{folder}/config.json", "w"))
        model = tf.AutoModelForCausalLM.from_config(tf.AutoConfig.from_pretrained(folder), attn_implementation="eager")
    dtype = DTYPES[config["dtype"]]
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(values(name, list(p.shape)).to(dtype))
    return model.float().eval()


def linears(model):
    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]


def packed(model, dtype, each):
    """Linear layers by `each`: tensors that take the weight's place, and the weight that they mean."""
    tensors = {k: v.to(dtype) for k, v in model.state_dict().items()}
    with torch.no_grad():
        for name, m in linears(model):
            parts, meant = each(m.weight.data)
            del tensors[f"{name}.weight"]
            tensors.update({f"{name}.{k}": v.contiguous() for k, v in parts.items()})
            m.weight.copy_(meant.to(dtype))
    return tensors


def words(q, bits, dim):
    """Numbers of some bits in words of 32 along an axis, the first lowest."""
    per = 32 // bits
    parts = q.to(torch.int64).unflatten(dim, (-1, per)).unbind(dim + 1)
    word = sum(part << (bits * i) for i, part in enumerate(parts))
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)


def grouped(w, group_of, bits, dtype):
    """Scales, zero points [groups, out] and numbers [in, out] of a weight [out, in]."""
    groups = int(group_of.max()) + 1
    scales, zeros = [], []
    for g in range(groups):
        part = w[:, group_of == g]
        low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
        scale = ((high - low) / (2**bits - 1)).to(dtype).float()
        scales.append(scale)
        zeros.append(torch.round(-low / scale).clamp(1, 2**bits - 1))
    scales, zeros = torch.stack(scales), torch.stack(zeros)
    q = torch.round(w.T / scales[group_of] + zeros[group_of]).clamp(0, 2**bits - 1)
    return scales, zeros, q


def gptq(bits, group, order, version):
    def each(w):
        inputs = w.shape[1]
        group_of = torch.arange(inputs) // (group if group > 0 else inputs)
        if order:
            group_of = group_of[torch.randperm(inputs, generator=torch.Generator().manual_seed(3))]
        scales, zeros, q = grouped(w, group_of, bits, torch.float16)
        stored = zeros - 1 if version == "gptq" else zeros
        parts = dict(qweight=words(q, bits, 0), qzeros=words(stored, bits, 1), scales=scales.half(), g_idx=group_of.int())
        return parts, (scales[group_of] * (q - zeros[group_of])).T

    said = dict(quant_method="gptq", bits=bits, group_size=group, desc_act=order, sym=False, damp_percent=0.01, lm_head=False)
    return each, said if version == "gptq" else dict(said, checkpoint_format=version)


def awq(group):
    def each(w):
        group_of = torch.arange(w.shape[1]) // group
        scales, zeros, q = grouped(w, group_of, 4, torch.float16)
        order = lambda t: t.unflatten(1, (-1, 8))[:, :, [0, 2, 4, 6, 1, 3, 5, 7]].flatten(1)
        parts = dict(qweight=words(order(q), 4, 1), qzeros=words(order(zeros), 4, 1), scales=scales.half())
        meant = (scales[group_of] * (q - zeros[group_of])).T
        if "AWQ_PACKING" in os.environ:
            spec = importlib.util.spec_from_file_location("packing_utils", os.environ["AWQ_PACKING"])
            tool = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(tool)
            own = tool.dequantize_gemm(parts["qweight"], parts["qzeros"], parts["scales"], 4, group)
            assert torch.equal(own.T.half(), meant.half())
        return parts, meant

    return each, dict(quant_method="awq", bits=4, group_size=group, version="gemm", zero_point=True, modules_to_not_convert=None)


def fp8(block):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    def each(w):
        height, width = block or w.shape
        blocks = w.unflatten(1, (-1, width)).unflatten(0, (-1, height))
        scale = blocks.abs().amax((1, 3)) / 448
        q = (blocks / scale[:, None, :, None]).flatten(0, 1).flatten(1).to(torch.float8_e4m3fn)
        scale = scale if block else scale.reshape(())
        meant = Fp8Dequantize(None)._dequantize_one(q, scale if block else scale.reshape(1, 1))
        return dict(weight=q, weight_scale_inv=scale), meant

    return each, dict(quant_method="fp8", activation_scheme="dynamic", weight_block_size=block)


def nf4(kind, nested, blocksize):
    def each(w):
        q, state = bnb.quantize_4bit(w, quant_type=kind, compress_statistics=nested, blocksize=blocksize)
        parts = {"weight": q, **{f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}}
        # The kernel for CPUs takes rows for wholes of blocks, which they need not be: one row of all is one.
        state.shape = torch.Size([1, w.numel()])
        return parts, bnb.dequantize_4bit(q, state).reshape(w.shape)

    said = dict(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested)
    return each, said


def int8():
    def each(w):
        q, scale, _ = bnb.int8_vectorwise_quant(w.half())
        return dict(weight=q, SCB=scale, weight_format=torch.tensor(0, dtype=torch.uint8)), bnb.int8_vectorwise_dequant(q, scale)

    return each, dict(quant_method="bitsandbytes", load_in_8bit=True)


def compressed(model, form, dtype, **args):
    """By compressed-tensors itself: compressed, saved, decompressed."""
    a = QuantizationArgs(**args)
    scheme = QuantizationScheme(targets=["Linear"], weights=a)
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"], format=form, quantization_status="frozen"))
    for m in model.modules():
        if not hasattr(m, "weight_scale"):
            continue
        w = m.weight.data
        parts = w.reshape(1, -1) if a.strategy == "tensor" else w if a.strategy == "channel" else w.unflatten(1, (-1, a.group_size))
        low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
        most = 448 if a.type == "float" else 2 ** (a.num_bits - 1) - 0.5
        scale = torch.maximum(-low, high) / most if a.symmetric else (high - low) / (2**a.num_bits - 1)
        m.weight_scale.data.copy_(scale.reshape(m.weight_scale.shape))
        if not a.symmetric:
            zero = (torch.round(-low / scale) - 2 ** (a.num_bits - 1)).reshape(m.weight_zero_point.shape)
            m.weight_zero_point.data.copy_(zero.to(m.weight_zero_point.dtype))
    tool = ModelCompressor.from_pretrained_model(model, quantization_format=form)
    tool.compress_model(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tool.update_config(folder)
        tensors = load_file(f"{folder}/model.safetensors")
        said = json.load(open(f"{folder}/config.json"))["quantization_config"]
    tool.decompress_model(model)
    own = {k: v.to(dtype).float() for k, v in model.state_dict().items()}
    return {k: v.to(dtype) if v.dtype == torch.float32 and "scale" not in k else v for k, v in tensors.items()}, said, own


def mxfp4(model, dtype):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    tensors = {k: v.to(dtype) for k, v in model.state_dict().items()}
    g = torch.Generator().manual_seed(5)
    for name, p in model.named_parameters():
        if not name.endswith(("gate_up_proj", "down_proj")):
            continue
        experts, inputs, outputs = p.shape
        blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=g, dtype=torch.uint8)
        scales = torch.randint(122, 126, (experts, outputs, inputs // 32), generator=g, dtype=torch.uint8)
        p.data.copy_(convert_moe_packed_tensors(blocks, scales, dtype=dtype).float())
        del tensors[name]
        tensors.update({f"{name}_blocks": blocks, f"{name}_scales": scales})
    return tensors, dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "lm_head"])


CASES = {
    "gptq-ordered": ("float16", lambda: gptq(4, 32, True, "gptq")),
    "gptq-v2-8bit": ("float32", lambda: gptq(8, -1, False, "gptq_v2")),
    "awq": ("float16", lambda: awq(16)),
    "fp8-blocks": ("bfloat16", lambda: fp8([32, 16])),
    "fp8-tensor": ("bfloat16", lambda: fp8(None)),
    "nf4-nested": ("bfloat16", lambda: nf4("nf4", True, 64)),
    "fp4": ("float16", lambda: nf4("fp4", False, 128)),
    "bnb-int8": ("float16", int8),
    "compressed-int8": ("bfloat16", dict(form="int-quantized", num_bits=8, type="int", strategy="channel", symmetric=False)),
    "compressed-float8": ("bfloat16", dict(form="float-quantized", num_bits=8, type="float", strategy="tensor", symmetric=True)),
    "compressed-int4": ("float32", dict(form="pack-quantized", num_bits=4, type="int", strategy="group", group_size=32, symmetric=False)),
    "mxfp4": ("bfloat16", "mxfp4"),
}


def make(name):
    kept, how = CASES[name]
    dtype = DTYPES[kept]
    config = dict(GPT_OSS if how == "mxfp4" else LLAMA, dtype=kept)
    model = plain(config)
    if how == "mxfp4":
        tensors, said = mxfp4(model, dtype)
    elif isinstance(how, dict):
        tensors, said, own = compressed(model, dtype=dtype, **how)
        model = plain(config)
        model.load_state_dict({k: own[k] for k in model.state_dict()})
    else:
        each, said = how()
        tensors = packed(model, dtype, each)
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
        stored = open(f"{folder}/model.safetensors", "rb").read()
    inputs = dict(input_ids=torch.randint(4, 48, (2, 9), generator=torch.Generator().manual_seed(7)))
    inputs["attention_mask"] = torch.ones(2, 9, dtype=torch.long)
    case = dict(type=name, seed=0, task="causal-lm", config=dict(config, quantization_config=said), tensors={})
    return answered(case, stored, model, inputs, TARGETS if how != "mxfp4" else TARGETS[:3])


if __name__ == "__main__":
    write_cases(CASES, make)
