"""Reference results of AdapterHub's `adapters` for the methods that HF PEFT lacks, on make_golden.py's models, in the same layout.

  KEEP_WEIGHTS=1 python make_golden.py OUT llama:none bert:none      the models' weights, which aren't kept here
  python make_adapters.py OUT [arch[:case,case] ...]

Needs torch and adapters 1.3.0 (transformers 4.57), which can't lie beside the transformers of make_golden.py.
"""
import json, os, shutil, sys

import adapters
import torch
from adapters import CompacterConfig, DiReftConfig, DoubleSeqBnConfig, ParBnConfig, ReftConfig, SeqBnConfig
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

torch.set_num_threads(2)
CASES = {
    "bottleneck-houlsby": lambda: DoubleSeqBnConfig(reduction_factor=4),
    "bottleneck-pfeiffer": lambda: SeqBnConfig(reduction_factor=4, scaling="learned"),
    "bottleneck-parallel": lambda: ParBnConfig(reduction_factor=2, scaling="channel", mh_adapter=True),
    "bottleneck-norms": lambda: SeqBnConfig(reduction_factor={"0": 4, "default": 2}, ln_before=True, ln_after=True, residual_before_ln=False, adapter_residual_before_ln=True, mh_adapter=True,
                                            init_weights="mam_adapter", scaling=0.5, non_linearity="leakyrelu"),
    "bottleneck-compacter": lambda: CompacterConfig(reduction_factor=4, phm_dim=4, phm_init_range=0.5),
    "bottleneck-compacter-own": lambda: CompacterConfig(reduction_factor=4, phm_dim=2, phm_rank=2, shared_phm_rule=False, factorized_phm_rule=True, leave_out=[0]),
    "reft": lambda: ReftConfig(layers="all", prefix_positions=2, suffix_positions=2, r=3, orthogonality=True, dropout=0.0),
    "reft-direct": lambda: DiReftConfig(layers=[1], prefix_positions=3, suffix_positions=1, r=2, tied_weights=True, dropout=0.0, non_linearity="relu"),
}
ONLY_POST_NORM = {"bottleneck-post-add": lambda: SeqBnConfig(reduction_factor=4, residual_before_ln="post_add")}


def ours(name):
    """A parameter's name as Graft has it."""
    name = name.replace(".golden.", ".").replace("shared_parameters.golden", "shared_parameters")
    for module, path in (("self_attn.o_proj", "attention_adapters"), ("mlp.down_proj", "output_adapters")):
        name = name.replace(f".{path}.adapters.", f".{module}.")
    name = name.replace(".output.adapters.", ".output.dense.").replace("reft_layer.refts.", "reft.").replace("parametrizations.weight.", "")
    for old, new in (("adapter_down.0.", "adapter_down."), ("adapter_down.1.", "adapter_down."), (".scaling", ".adapter_scaling")):
        name = name.replace(old, new)
    if "shared_parameters" in name:
        name = name[name.index("shared_parameters") :]
    return name


def trained(model, folder=None):
    """Trainable parameters by our names; norms before the bottleneck are listed under two names."""
    found = {}
    for n, p in model.named_parameters():
        if p.requires_grad:
            found.setdefault("base_model.model." + ours(n), p)
    return found


def fix_bases(model):
    """torch completes an orthogonal matrix by random numbers; here by Householder's reflections, as a file without them can."""
    for m in model.modules():
        if hasattr(m, "base") and isinstance(getattr(m, "base"), torch.Tensor) and type(m).__name__ == "_Orthogonal":
            r = m.shape[0]
            start = m.base[:, :r].clone()
            q, upper = torch.linalg.qr(start.double(), mode="complete")
            q[:, :r] *= upper.diagonal().sign()
            assert torch.allclose(q[:, :r].float(), start, atol=1e-5)
            m.base.copy_(q.float())


def options(config, arch):
    kept = {k: v for k, v in config.to_dict().items() if k not in ("architecture", "inv_adapter", "inv_adapter_reduction_factor", "use_gating", "stochastic_depth", "init_weights_seed",
                                                                     "hypercomplex_nonlinearity", "dtype", "output_reft")}
    if isinstance(config, ReftConfig):
        kept["subtract_projection"] = config.subtract_projection
    kept |= dict(peft_type="REFT" if isinstance(config, ReftConfig) else "BOTTLENECK", task_type="CAUSAL_LM" if arch == "llama" else "SEQ_CLS")
    return kept | (dict(modules_to_save=["classifier"]) if arch == "bert" else {})


def save(model, config, arch, folder):
    os.makedirs(folder)
    tensors = {n: p.detach().clone().contiguous() for n, p in trained(model).items()}
    for n, m in model.named_modules():
        if type(m).__name__ == "ReftUnit" and m.orthogonal:
            path = "base_model.model." + ours(n + ".projection")
            tensors.pop(f"{path}.original")
            tensors[f"{path}.weight"] = m.projection.weight.detach().clone().contiguous()
    save_file(tensors, os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
    json.dump(options(config, arch), open(os.path.join(folder, "adapter_config.json"), "w"), indent=1, sort_keys=True)


def make_case(root, arch, name, make):
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(23)
    cls = AutoModelForCausalLM if arch == "llama" else AutoModelForSequenceClassification
    model = cls.from_config(AutoConfig.from_pretrained(os.path.join(root, "model")), attn_implementation="eager")
    missing = model.load_state_dict(load_file(os.path.join(root, "model", "model.safetensors")), strict=False).missing_keys
    assert all("position_ids" in k or k == "lm_head.weight" for k in missing), missing
    adapters.init(model)
    config = make()
    model.add_adapter("golden", config=config)
    model.train_adapter("golden")
    if arch == "bert":
        model.classifier.requires_grad_(True)
    model.eval()
    fix_bases(model)
    with torch.no_grad():
        for n, p in trained(model).items():
            if not n.endswith(".original") and "classifier" not in n:
                p.add_(torch.randn_like(p) * 0.1)
    save(model, config, arch, os.path.join(folder, "start"))
    if name in ("bottleneck-houlsby", "bottleneck-parallel"):  # the same numbers as AdapterHub's own files, for reading and writing them
        model.save_adapter(os.path.join(folder, "hub"), "golden", use_safetensors=True)
    parameters = trained(model)
    save_file({n: p.detach().clone().contiguous() for n, p in parameters.items()}, os.path.join(folder, "parameters.safetensors"))
    batch = load_file(os.path.join(root, "batch.safetensors"))
    labels = batch.pop("labels")
    # Weight decay would move the signs on the diagonal that torch's parametrization cuts to whole numbers.
    settings = dict(name="AdamW", lr=1e-2, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0 if name == "reft" else 0.01, clip=None)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=settings["weight_decay"])
    losses = []
    for step in range(11):
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        losses.append(float(loss.detach()))
        if step == 10:
            break
        loss.backward()
        if step == 0:
            save_file({n: p.grad.clone().contiguous() for n, p in parameters.items() if p.grad is not None}, os.path.join(folder, "gradients.safetensors"))
        optimizer.step()
    save(model, config, arch, os.path.join(folder, "end"))
    json.dump({"method": name, "losses": losses, "optimizer": settings}, open(os.path.join(folder, "trajectory.json"), "w"), indent=1)
    print(arch, name, round(losses[0], 4), round(losses[-1], 4), flush=True)


if __name__ == "__main__":
    for argument in sys.argv[2:] or ["llama", "bert"]:
        arch, _, chosen = argument.partition(":")
        for name, make in (CASES | (ONLY_POST_NORM if arch == "bert" else {})).items():
            if not chosen or name in chosen.split(","):
                make_case(os.path.join(sys.argv[1], arch), arch, name, make)
