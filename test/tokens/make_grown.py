"""Writes grown/: adapters that HF PEFT saved on models whose vocabulary was resized, and the logits they give.

    pip install torch transformers peft && python test/tokens/make_grown.py
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

here = Path(__file__).parent
new = 3
made = {"made with": {p: version(p) for p in ("torch", "transformers", "peft")}, "cases": []}
shutil.rmtree(here / "grown", ignore_errors=True)
# gpt2's output layer is its embedding; llama's has a table of its own.
for name, targets, modules in (("gpt2", ["c_attn"], None), ("llama", ["q_proj"], ["embed_tokens", "lm_head"])):
    torch.manual_seed(0)
    base = here.parent / "golden/architectures" / name / "model"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    rows = model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(rows + new)
    ids = [rows, rows + 2, 5]  # the second new token keeps what resizing gave it
    indices = {module: ids for module in modules} if modules else ids
    model = get_peft_model(model, LoraConfig(r=2, target_modules=targets, trainable_token_indices=indices))
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    text = [[1, rows, 7, rows + 2, 5, rows + 1, 2]]
    with torch.no_grad():
        logits = model(torch.tensor(text)).logits[0]
    for how in ("auto", False):
        folder = here / "grown" / f"{name}-{'tables' if how else 'rows'}"
        model.save_pretrained(folder, save_embedding_layers=how)
        (folder / "README.md").unlink()
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = None
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        # Without the tables the second new token is what resizing made it, which the file can't say.
        count = len(text[0]) if how else 5
        made["cases"].append(
            {
                "folder": folder.name,
                "model": name,
                "ids": text[0][:count],
                "columns": [c for c in range(rows + new) if how or c != rows + 1],
                "logits": [round(v, 6) for v in logits[:count].flatten().tolist()],
            }
        )
(here / "grown" / "logits.json").write_text(json.dumps(made) + "\n")
