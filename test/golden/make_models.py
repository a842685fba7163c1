"""Tiny random models with odd options, by transformers: logits, LoRA's first gradients by HF PEFT, greedy tokens.

  python make_models.py OUT [--each N] [--from SEED] [--tokens N] [type ...]

One JSON file a model. Weights are not kept: they follow from each tensor's name (`values`), as test/architectures/models.test.ts makes
them too. Options are drawn from the tables of odd_types.py; a draw that transformers can't build is drawn again. Needs torch,
transformers and peft (versions.json).
"""
import argparse, base64, copy, inspect, json, os, random, shutil, tempfile, warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from odd_types import TYPES, V

tf.logging.set_verbosity_error()
tf.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
HEADS = {
    "causal-lm": tf.AutoModelForCausalLM,
    "masked-lm": tf.AutoModelForMaskedLM,
    "sequence-to-sequence": tf.AutoModelForSeq2SeqLM,
    "sequence-classification": tf.AutoModelForSequenceClassification,
    "token-classification": tf.AutoModelForTokenClassification,
    "image-classification": tf.AutoModelForImageClassification,
    "features": tf.AutoModel,
}
TASK_TYPES = {"causal-lm": "CAUSAL_LM", "sequence-to-sequence": "SEQ_2_SEQ_LM"}


def values(name, shape):
    """Numbers that follow from a tensor's name: uniform, about one for what norms scale by."""
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    with np.errstate(over="ignore"):
        x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761) + np.uint32(h)
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        x = x ^ (x >> np.uint32(16))
    spread = 0.3 if len(shape) < 2 else 2.4 / np.sqrt(shape[-1])
    base = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
    return torch.from_numpy((base + (x.astype(np.float64) / 2**32 - 0.5) * spread).astype(np.float32).reshape(shape))


def pack(t):
    return base64.b64encode(t.detach().float().contiguous().numpy().tobytes()).decode()


def merge(a, b):
    return {**a, **{k: merge(a[k], v) if isinstance(v, dict) and isinstance(a.get(k), dict) else v for k, v in b.items()}}


def draw(kind, seed):
    t = TYPES[kind]
    r = random.Random(f"{kind} {seed}")
    task = t["tasks"][seed % len(t["tasks"])]
    config = dict(t["base"])
    for group in t["odd"]:
        if r.random() < 0.7:
            config = merge(config, r.choice(group))
    if "classification" in task:
        config["num_labels"] = 3
    return config, task, seed % 2 == 1, r.random() < 0.5, r.random() < 0.3


def build(kind, seed, folder):
    config, task, saved, left, own_head = draw(kind, seed)
    json.dump({"model_type": kind, **config}, open(os.path.join(folder, "config.json"), "w"))
    head = tf.AutoModelForImageTextToText if kind in ("gemma3", "mistral3", "llava") else HEADS[task]
    own = tf.AutoConfig.from_pretrained(folder)
    own.architectures = own.architectures or []
    model = head.from_config(own, attn_implementation="eager")
    arch = type(model).__name__
    model.save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, "pt") as f:
        shapes = {k: list(f.get_slice(k).get_shape()) for k in f.keys() if "inv_freq" not in k}
    output = "lm_head.weight"
    if own_head and "text_config" not in config and getattr(model, "_tied_weights_keys", None) and output in model._tied_weights_keys and output not in shapes:
        # Tied by the config, and yet stored: transformers 5 takes the stored one.
        shapes[output] = list(model.get_output_embeddings().weight.shape)
    save_file({k: values(k, s) for k, s in shapes.items()}, path, metadata={"format": "pt"})
    own = json.load(open(os.path.join(folder, "config.json")))
    if not saved:
        own = {"model_type": kind, "architectures": [arch], **config}
        json.dump(own, open(os.path.join(folder, "config.json"), "w"))
    model = head.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return own, task, left, shapes, model


def batch(model, task, left):
    g = torch.Generator().manual_seed(7)
    if model.main_input_name == "pixel_values":
        c = getattr(model.config, "vision_config", model.config)
        size = c.image_size if isinstance(c.image_size, (list, tuple)) else (c.image_size, c.image_size)
        return dict(pixel_values=torch.randn(2, getattr(c, "num_channels", 3), *size, generator=g))
    ids, mask = torch.randint(4, V, (2, 11), generator=g), torch.ones(2, 11, dtype=torch.long)
    left = left and "causal-lm" in TYPES[model.config.model_type]["tasks"]
    if left:
        mask[1, :4] = 0
    else:
        mask[1, 7:] = 0
    pad = getattr(model.config.get_text_config(), "pad_token_id", None)
    ids[mask == 0] = pad if isinstance(pad, int) and 0 <= pad < V else 0
    inputs = dict(input_ids=ids, attention_mask=mask)
    accepted = inspect.signature(model.forward).parameters
    if left and "position_ids" in accepted:
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    if task == "sequence-to-sequence":
        inputs["decoder_input_ids"] = torch.randint(4, V, (2, 6), generator=g)
    if "token_type_ids" in accepted and getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = (torch.arange(11) > 5).long().expand(2, 11) * mask
    return inputs


def output(model, inputs):
    o = model(**inputs)
    return o.logits if "logits" in o else o.last_hidden_state


def lora(model, task, targets, inputs):
    """Gradients of the sum of outputs · values, so that every kind of head has one."""
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=targets, task_type=TASK_TYPES.get(task)))
    names = {}
    for name, p in adapted.named_parameters():
        if p.requires_grad:
            names[name.replace(".default", "").replace("base_model.model.", "", 1)] = p
    with torch.no_grad():
        for name, p in names.items():
            p.copy_(values(name, list(p.shape)))
    out = output(adapted.eval(), inputs)
    weight = values("loss", list(out.shape))
    if "attention_mask" in inputs and out.ndim == 3 and task != "sequence-to-sequence":
        weight = weight * inputs["attention_mask"][..., None]
    (out * weight).sum().backward()
    # Of each gradient: its product with numbers that follow from its name, its norm, its greatest.
    sums = {n: [float((p.grad * values(f"{n} gradient", list(p.shape))).sum()), float(p.grad.norm()), float(p.grad.abs().max())] for n, p in names.items()}
    return sums, float((out * weight).sum())


def greedy(model, count):
    prompts = [[5, 9, 13], [7, 4, 11, 6, 8, 15, 10], [12]]
    # Ropes that stretch with the longest text of a batch, and remember it, are asked one by one.
    alone = any(kind in json.dumps(model.config.to_dict()) for kind in ('"dynamic"', '"longrope"'))
    batches = [[p] for p in prompts] if alone else [prompts]
    return prompts, [row for batch in batches for row in written(copy.deepcopy(model), batch, count)]


def written(model, prompts, count):
    model.generation_config = tf.GenerationConfig(eos_token_id=None, pad_token_id=0, max_new_tokens=count, do_sample=False)
    width = max(map(len, prompts))
    if model.config.is_encoder_decoder:
        # Read with padding on the right, and written behind the token that decoders begin with.
        model.generation_config.decoder_start_token_id = model.config.decoder_start_token_id
        pad = model.config.pad_token_id
        model.generation_config.pad_token_id = pad
        ids = torch.tensor([p + [pad] * (width - len(p)) for p in prompts])
        mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts])
        return [row[1:].tolist() for row in model.generate(input_ids=ids, attention_mask=mask)]
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return [row[width:].tolist() for row in model.generate(input_ids=ids, attention_mask=mask)]


def make(kind, seed, count):
    folder = tempfile.mkdtemp()
    try:
        config, task, left, shapes, model = build(kind, seed, folder)
        inputs = batch(model, task, left)
        with torch.no_grad():
            out = output(model, inputs)
        if not torch.isfinite(out).all():
            raise ValueError("not finite")
        case = dict(type=kind, seed=seed, task=task, config=config, tensors=shapes)
        case["inputs"] = {k: v.tolist() for k, v in inputs.items() if k != "pixel_values"}
        if "pixel_values" in inputs:
            case["pixels"] = [list(inputs["pixel_values"].shape), pack(inputs["pixel_values"])]
        case["output"] = [list(out.shape), pack(out)]
        if task in ("causal-lm", "sequence-to-sequence"):
            case["prompts"], case["written"] = greedy(model, count)
        case["targets"] = TYPES[kind]["targets"]
        case["gradients"], case["loss"] = lora(model, task, TYPES[kind]["targets"], inputs)
        return case
    finally:
        shutil.rmtree(folder)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("types", nargs="*")
    p.add_argument("--each", type=int, default=1)
    p.add_argument("--tokens", type=int, default=12, help="that greedy generation writes")
    p.add_argument("--from", dest="start", type=int, default=0)
    a = p.parse_intermixed_args()
    os.makedirs(a.out, exist_ok=True)
    for kind in a.types or TYPES:
        if kind not in CONFIG_MAPPING:
            raise SystemExit(f"transformers has no {kind}")
        for seed in range(a.start, a.start + a.each):
            for again in range(20):
                try:
                    case = make(kind, seed + 1000 * again, a.tokens)
                    break
                except Exception as error:
                    print(f"{kind} {seed}: drawn again: {type(error).__name__}: {str(error)[:200]}", flush=True)
            else:
                continue
            with open(os.path.join(a.out, f"{kind}-{case['seed']}.json"), "w") as f:
                json.dump(case, f, separators=(",", ":"))
            print(kind, case["seed"], case["task"], flush=True)


if __name__ == "__main__":
    main()
