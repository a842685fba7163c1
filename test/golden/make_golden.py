"""Reference results of HF PEFT for methods and variants: tiny random models, their ONNX export, and per case the gradients of the
first step and ten AdamW steps. `graft verify test/golden/llama` replays them.

  python make_golden.py OUT [arch ...]              anew, all of an architecture
  python make_golden.py OUT arch:case,case          these cases, into what is there

Needs torch, transformers, peft, onnx, onnxscript. Made with the versions in versions.json; the layout is described in
docs/verify.md. Not needed to use or to test Graft: the results are kept beside this file.
"""
import copy, json, os, shutil, sys, warnings

warnings.filterwarnings("ignore")
import onnx
import peft
import torch
import transformers as tf
from peft import (AdaLoraConfig, BOFTConfig, FourierFTConfig, HRAConfig, IA3Config, LoKrConfig, LoraConfig, MissConfig, OFTConfig, RandLoraConfig,
                  ShiraConfig, TrainableTokensConfig, get_peft_model)
from peft.optimizers import lorafa
from safetensors.torch import load_file, save_file

from method_cases import NEUTRAL, case_inputs, method_cases

torch.set_num_threads(2)
VOCABULARY = 48
LAYERS = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)
ARCHITECTURES = {
    "llama": (tf.LlamaForCausalLM, lambda: tf.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, max_position_embeddings=32, pad_token_id=0, bos_token_id=1,
                                                          eos_token_id=2, tie_word_embeddings=True, **LAYERS), ["q_proj", "v_proj"], "CAUSAL_LM"),
    "bert": (tf.BertForSequenceClassification, lambda: tf.BertConfig(vocab_size=VOCABULARY, max_position_embeddings=32, num_labels=3, hidden_dropout_prob=0,
                                                                     attention_probs_dropout_prob=0, **LAYERS), ["query", "value"], "SEQ_CLS"),
    "vit": (tf.ViTForImageClassification, lambda: tf.ViTConfig(image_size=8, patch_size=4, num_channels=3, num_labels=3, hidden_dropout_prob=0,
                                                               attention_probs_dropout_prob=0, **LAYERS), ["query", "value"], None),
}


def cases(arch, targets, task):
    t = dict(task_type=task) if task else {}
    lora = lambda **k: LoraConfig(**{**dict(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False), **t, **k})
    if arch == "vit":
        return {"lora-convolution": lambda: lora(target_modules=["projection", "query"])}
    found = {
        "boft": lambda: BOFTConfig(boft_block_size=4, target_modules=targets, init_weights=False, **t),
        "boft-butterfly": lambda: BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=2, target_modules=targets, init_weights=False, **t),
        "hra": lambda: HRAConfig(r=4, target_modules=targets, init_weights=False, **t),
        "hra-gram-schmidt": lambda: HRAConfig(r=3, apply_GS=True, target_modules=targets, init_weights=False, **t),
        "miss": lambda: MissConfig(r=6, target_modules=targets, init_weights=False, **t),
        "shira": lambda: ShiraConfig(r=2, random_seed=5, target_modules=targets, init_weights=False, **t),
        "fourierft": lambda: FourierFTConfig(n_frequency=20, scaling=40.0, target_modules=targets, init_weights=False, **t),
        "randlora": lambda: RandLoraConfig(r=5, randlora_alpha=10, target_modules=targets, **t),
        "pissa": lambda: lora(init_lora_weights="pissa"),
        "olora": lambda: lora(init_lora_weights="olora"),
    }
    if arch == "bert":
        return {k: found[k] for k in ("boft", "hra", "miss", "fourierft")} | method_cases(arch, targets, t) | {
            "bitfit": None,
            "lora-bias": lambda: lora(bias="all", lora_bias=True),
            "dora-all-linear": lambda: lora(target_modules="all-linear", use_dora=True, use_rslora=True),
            "ia3-feedforward": lambda: IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"], **t),
        }
    return found | method_cases(arch, targets, t) | {
        "miss-bat": lambda: MissConfig(r=4, init_weights="bat", target_modules=targets, **t),
        "miss-mini": lambda: MissConfig(r=4, mini_r=4, init_weights="mini", target_modules=targets, **t),
        "oft-cayley": lambda: OFTConfig(r=0, oft_block_size=4, use_cayley_neumann=False, target_modules=targets, init_weights=False, **t),
        "oft-shared": lambda: OFTConfig(r=4, oft_block_size=0, block_share=True, target_modules=targets, init_weights=False, **t),
        "lokr-decomposed": lambda: LoKrConfig(r=1, alpha=2, decompose_both=True, decompose_factor=4, target_modules=targets, init_weights=False, **t),
        "randlora-sparse": lambda: RandLoraConfig(r=4, randlora_alpha=8, sparse=True, target_modules=[*targets, "down_proj"], **t),
        "trainable-tokens": lambda: TrainableTokensConfig(token_indices=[3, 7, 11], **t),
        "lora-head": lambda: lora(target_modules=["lm_head", "q_proj"], use_rslora=True),
        "dora-head": lambda: lora(target_modules=["lm_head", "v_proj"], use_dora=True),
        "dora-embedding": lambda: lora(target_modules=["embed_tokens", "q_proj"], use_dora=True),
        "lora-embedding": lambda: lora(target_modules=["embed_tokens", "q_proj"]),
        "lora-patterns": lambda: lora(target_modules=["q_proj", "k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], rank_pattern={"q_proj": 3, "layers.1.mlp.*": 1}, alpha_pattern={"down_proj": 8}, layers_to_transform=[1]),
        "adalora-equal": lambda: AdaLoraConfig(init_r=4, target_r=2, lora_alpha=8, target_modules=[*targets, "o_proj"], tinit=1, tfinal=2, deltaT=1, total_step=10,
                                               orth_reg_weight=0.3, beta1=0.7, beta2=0.9, **t),
    }


def batch_for(arch, config, task):
    g = torch.Generator().manual_seed(7)
    if arch == "vit":
        return dict(pixel_values=torch.randn(3, 3, 8, 8, generator=g)), torch.tensor([0, 1, 2])
    ids, mask = torch.randint(3, VOCABULARY, (3, 9), generator=g), torch.ones(3, 9, dtype=torch.long)
    mask[1, 6:] = 0
    ids[mask == 0] = config.pad_token_id or 0
    ids[0, 2], ids[2, 5] = 7, 11
    if task == "SEQ_CLS":
        return dict(input_ids=ids, attention_mask=mask), torch.tensor([0, 1, 2])
    labels = ids.clone()
    labels[mask == 0] = -100
    labels[0, :3] = -100
    return dict(input_ids=ids, attention_mask=mask), labels


class Logits(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs))).logits


def export(model, batch, out):
    names = list(batch)
    b, s = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("sequence", min=2, max=30)
    shapes = tuple({0: b} if n == "pixel_values" else {0: b, 1: s} for n in names)
    os.makedirs(out)
    program = torch.onnx.export(Logits(model, names).eval(), tuple(batch.values()), dynamo=True, dynamic_shapes=(shapes,), input_names=names, output_names=["logits"], opset_version=20, verbose=False)
    path = os.path.join(out, "model.onnx")
    program.save(path, external_data=False)
    onnx.save(without_traces(onnx.load(path)), path)


def without_traces(model):
    """The exporter records where each node was called from, five times the model's size; only the module scopes are of use."""
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        kept = [p for p in part.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
    return model


def attach(base, config):
    """The adapted model and its trainable parameters; without a config, all biases of the base itself."""
    if config is not None:
        if config.peft_type == peft.PeftType.BOFT and config.boft_n_butterfly_factor > 1:
            butterfly_on_cpu()
        model = get_peft_model(base, config)
        return model, [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    for n, p in base.named_parameters():
        p.requires_grad = n.endswith("bias") or n.startswith("classifier")
    return base, [("base_model.model." + n, p) for n, p in base.named_parameters() if p.requires_grad]


def butterfly_on_cpu():
    """HF PEFT falls back to one butterfly factor without its CUDA extension; this says the same in plain torch."""
    import peft.tuners.boft.layer as boft

    boft.get_fbd_cuda = lambda: True
    boft.FastBlockDiag = type("FastBlockDiag", (), {"apply": staticmethod(lambda r: torch.stack([torch.block_diag(*torch.unbind(x)) for x in r]))})


def save(model, trained, config, folder, start=None):
    if config is None:
        os.makedirs(folder)
        save_file({n: p.detach().clone().contiguous() for n, p in trained}, os.path.join(folder, "adapter_model.safetensors"))
        json.dump(dict(peft_type="BITFIT", task_type="SEQ_CLS", modules_to_save=["classifier"]), open(os.path.join(folder, "adapter_config.json"), "w"))
        return
    mutated = str(getattr(config, "init_lora_weights", "")) in ("pissa", "olora", "True") and start is not None and os.path.exists(start + "-kind")
    model.save_pretrained(folder, **(dict(path_initial_model_for_weight_conversion=start) if mutated else {}))
    if config.peft_type == peft.PeftType.PSOFT:  # its singular directions, which the file leaves out (docs/methods/psoft.md)
        add(folder, {f"{n}.psoft_A": m._psoft_A_cache["default"].contiguous() for n, m in model.named_modules() if hasattr(m, "_psoft_A_cache")})
    if config.peft_type == peft.PeftType.XLORA:  # its network, which HF PEFT 0.21.2 leaves out by mistake; the experts have folders of their own
        add(folder, {n: p.detach().clone() for n, p in model.named_parameters() if "internal_xlora_classifier" in n})
        for expert in config.adapters:
            shutil.rmtree(os.path.join(folder, expert))


def add(folder, tensors):
    """Puts into an adapter's file what it was computed with but HF PEFT doesn't write."""
    path = os.path.join(folder, "adapter_model.safetensors")
    save_file({**load_file(path), **tensors}, path, metadata={"format": "pt"})


def fix_signs(model):
    """Singular vectors are free up to a sign: make the greatest entry of each row of A positive. The product stays."""
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "lora_A") and "default" in module.lora_A:
                a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
                signs = torch.sign(a.gather(1, a.abs().argmax(1, keepdim=True)))
                a.mul_(signs)
                b.mul_(signs.T)


def plain(name):
    return name.replace(".default", "").replace("modules_to_save.", "")


def loss_of(model, batch, labels):
    """HF PEFT leaves it to whoever trains to add KaSA's own terms."""
    loss = model(**batch, labels=labels).loss
    config = getattr(model, "peft_config", {}).get("default")
    return loss + model.base_model._get_kasa_loss() if getattr(config, "kasa_config", None) else loss


def optimizer_for(model, trained, name, config):
    if name != "lora-fa":
        return torch.optim.AdamW([p for _, p in trained], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    lorafa.is_bf16_available = lambda: False  # else it turns gradients in half precision
    optimizer = lorafa.create_lorafa_optimizer(model, r=config.r, lora_alpha=config.lora_alpha, lr=1e-2, weight_decay=0.01)
    for group in optimizer.param_groups:
        group["eps"] = 1e-8
    return optimizer


def turned(model, n, p, name):
    """A gradient as the optimiser goes by it: LoRA-FA's is turned by A, which stays."""
    if name != "lora-fa" or "lora_B" not in n:
        return p.grad.clone().contiguous()
    a = dict(model.named_parameters())[n.replace("lora_B", "lora_A")].detach()
    scale = model.peft_config["default"].lora_alpha / model.peft_config["default"].r
    return (p.grad @ torch.linalg.inv(a @ a.T) / scale**2).contiguous()


def make_case(root, cls, batch, labels, name, make):
    folder = os.path.join(root, name)
    torch.manual_seed(23)
    config = make and make()
    base = cls.from_pretrained(os.path.join(root, "model"), attn_implementation="eager")
    model, trained = attach(base, config)
    if name == "lora-fa":
        trained = [(n, p) for n, p in trained if "lora_A" not in n]
    model.eval()
    with torch.no_grad():
        for n, p in trained:  # neutral starts would leave some gradients zero
            if any(k in n for k in NEUTRAL) or (name == "bdlora" and "lora_B" in n):
                p.add_(torch.randn_like(p) * 0.2)
    if getattr(config, "init_lora_weights", None) == "pissa":
        fix_signs(model)
    start, kind = os.path.join(folder, "start"), getattr(config, "init_lora_weights", None)
    if kind in ("pissa", "olora"):
        model.peft_config["default"].init_lora_weights = True
        os.makedirs(folder)
        open(start + "-kind", "w").close()
    save(model, trained, config, start)
    save_file({plain(n): p.detach().clone().contiguous() for n, p in trained}, os.path.join(folder, "parameters.safetensors"))
    inputs = case_inputs(config)
    if inputs:
        save_file(inputs, os.path.join(folder, "inputs.safetensors"))
    batch = {**batch, **inputs}
    optimizer = optimizer_for(model, trained, name, config)
    losses, ranks = [], []
    for step in range(10):
        optimizer.zero_grad()
        loss = loss_of(model, batch, labels)
        losses.append(float(loss))
        loss.backward()
        if step == 0:
            save_file({plain(n): turned(model, n, p, name) for n, p in trained if p.grad is not None}, os.path.join(folder, "gradients.safetensors"))
        optimizer.step()
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(step)
        if name.startswith("adalora"):
            ranks.append(int(sum((p.abs() > 0).sum() for n, p in trained if "lora_E" in n)))
    with torch.no_grad():
        losses.append(float(loss_of(model, batch, labels)))
    save(model, trained, config, os.path.join(folder, "end"), start)
    if name == "lora-fa":  # an option of ours; HF PEFT has an optimiser for it
        for part in (start, os.path.join(folder, "end")):
            path = os.path.join(part, "adapter_config.json")
            stored = json.load(open(path))
            json.dump({**stored, "lora_fa": True}, open(path, "w"), indent=1)
    if kind in ("pissa", "olora"):
        path = os.path.join(start, "adapter_config.json")
        stored = json.load(open(path))
        json.dump({**stored, "init_lora_weights": kind}, open(path, "w"), indent=1)
        os.remove(start + "-kind")
    settings = dict(name="AdamW", lr=1e-2, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, clip=None)
    json.dump({"method": name, "losses": losses, "optimizer": settings, **({"nonzero_singular_values": ranks} if ranks else {})}, open(os.path.join(folder, "trajectory.json"), "w"), indent=1)
    print(name, round(losses[0], 4), round(losses[-1], 4), flush=True)


def main():
    out = sys.argv[1]
    for argument in sys.argv[2:] or ARCHITECTURES:
        arch, _, chosen = argument.partition(":")
        cls, make, targets, task = ARCHITECTURES[arch]
        root = os.path.join(out, arch)
        for old in chosen.split(",") if chosen else [""]:
            shutil.rmtree(os.path.join(root, old), ignore_errors=True)
        os.makedirs(root, exist_ok=True)
        torch.manual_seed(11)
        config = make()
        config._attn_implementation = "eager"
        if arch == "llama":
            config.use_cache = False
        model = cls(config)
        with torch.no_grad():  # every parameter distinct: norms off one, biases off zero
            for n, p in model.named_parameters():
                p.add_(torch.randn_like(p) * (0.1 if p.ndim < 2 else 0.08))
        model.eval()
        model.save_pretrained(os.path.join(root, "model"))
        batch, labels = batch_for(arch, config, task)
        with torch.no_grad():
            logits = model(**batch).logits.contiguous()
        if chosen:
            assert torch.allclose(load_file(os.path.join(root, "forward.safetensors"))["logits"], logits, atol=1e-6)
        else:
            save_file({**batch, "labels": labels}, os.path.join(root, "batch.safetensors"))
            save_file({"logits": logits}, os.path.join(root, "forward.safetensors"))
            export(copy.deepcopy(model), batch, os.path.join(root, "onnx"))
        for name, make_config in cases(arch, targets, task).items():
            if not chosen or name in chosen.split(","):
                make_case(root, cls, batch, labels, name, make_config)
        if not os.environ.get("KEEP_WEIGHTS"):  # make_adapters.py reads them
            os.remove(os.path.join(root, "model", "model.safetensors"))
        for folder, _, files in os.walk(root):
            for f in files:
                if f == "README.md":
                    os.remove(os.path.join(folder, f))
                elif f.endswith(".json"):
                    text = open(os.path.join(folder, f)).read().replace(f'_path": "{out.rstrip("/")}/', '_path": "')
                    open(os.path.join(folder, f), "w").write(text)
    json.dump({"torch": torch.__version__, "transformers": tf.__version__, "peft": peft.__version__}, open(os.path.join(out, "versions.json"), "w"))


main()
