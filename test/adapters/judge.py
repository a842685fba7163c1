"""What HF PEFT and transformers make of adapters and merged folders that every-way.test.ts kept.

  KEEP=DIR ALL=1 npx vitest run test/adapters && python test/adapters/judge.py DIR [family ...]

Prints a line for each that differs by more than 1e-5 of the greatest logit, or that doesn't load; then counts. Needs torch, transformers
and peft (test/golden/versions.json).
"""
import collections, json, os, sys

import peft
import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../golden"))
from make_models import HEADS


def opened(folder, task):
    more = {} if "lm" in task or "sequence-to" in task else {"num_labels": 3}
    return HEADS[task].from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, **more).eval()


def apart(model, expected):
    inputs = {}
    for name, given in expected["inputs"].items():
        kind = torch.float32 if name == "pixel_values" else torch.long
        inputs[name] = torch.tensor(given["data"], dtype=kind).reshape(given["shape"])
    accepted = {"input_ids", "attention_mask", "token_type_ids", "pixel_values", "decoder_input_ids"} | ({"task_ids"} if hasattr(model, "peft_config") and has_tasks(model) else set())
    inputs = {k: v for k, v in inputs.items() if k in accepted}
    # Mixtures of adapters take no cache.
    model.config.use_cache = False
    with torch.no_grad():
        got = model(**inputs).logits.flatten()
    wanted = torch.tensor(expected["logits"])
    got = got[-len(wanted):] if len(got) > len(wanted) else got
    wanted = wanted[-len(got):]
    return float((got - wanted).abs().max() / max(1.0, float(wanted.abs().max())))


def has_tasks(model):
    return any(getattr(c, "n_tasks", None) or getattr(c, "num_tasks", None) for c in model.peft_config.values())


def judged(folder, base, of):
    expected = json.load(open(os.path.join(folder, "adapter", "expected.json")))
    if of == "merged":
        return apart(opened(os.path.join(folder, "merged"), expected["task"]), expected)
    model = peft.PeftModel.from_pretrained(opened(base, expected["task"]), os.path.join(folder, "adapter")).eval()
    return apart(model, expected)


def main(root):
    counts = collections.Counter()
    for family in sorted(sys.argv[2:] or os.listdir(root)):
        for method in sorted(os.listdir(os.path.join(root, family))):
            folder = os.path.join(root, family, method)
            if method == "base" or not os.path.exists(os.path.join(folder, "adapter", "expected.json")):
                continue
            for of in ("adapter", "merged"):
                if of == "merged" and not os.path.exists(os.path.join(folder, "merged", "config.json")):
                    continue
                try:
                    far = judged(folder, os.path.join(root, family, "base"), of)
                    counts[of, "equal" if far < 1e-5 else "differs"] += 1
                    if not far < 1e-5:
                        print(family, method, of, f"{far:.1e}", flush=True)
                except Exception as error:
                    counts[of, "not loaded"] += 1
                    print(family, method, of, type(error).__name__, " ".join(str(error).split())[:230], flush=True)
    print(dict(counts))


main(sys.argv[1])
