"""What make_packed.py and make_gguf.py put beside the file of a tiny language model, and how they write their cases."""
import base64, gzip, json, os, sys

import torch

from make_models import lora, pack


def answered(case, stored, model, inputs, targets):
    """The file itself (gzip, base64), inputs, logits, and LoRA's first gradients on `targets`."""
    with torch.no_grad():
        out = model(**inputs).logits
    case["file"] = base64.b64encode(gzip.compress(stored, 9, mtime=0)).decode()
    case["inputs"] = {k: v.tolist() for k, v in inputs.items()}
    case["output"] = [list(out.shape), pack(out)]
    case["targets"] = targets
    case["gradients"], case["loss"] = lora(model, "causal-lm", targets, inputs)
    return case


def write_cases(cases, make):
    """OUT [name ...] of the command line: one JSON file a case."""
    out, *names = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name in names or cases:
        with open(os.path.join(out, f"{name}.json"), "w") as f:
            json.dump(make(name), f, separators=(",", ":"))
        print(name, flush=True)
