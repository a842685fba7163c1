"""What transformers' config classes say where a config.json is silent, for every model_type that Graft opens.

  python make_config_classes.py ../../packages/architectures/src/config-classes

Needs transformers (versions.json). Fields that change nothing whatever their value (packages/core/src/architecture/harmless.ts) are left out.
"""
import json, os, re, sys, textwrap
from dataclasses import MISSING, fields

import transformers as tf
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from odd_types import KINDS

SHARED = {f.name for f in fields(tf.PreTrainedConfig)} - {"chunk_size_feed_forward"}
HARMLESS = re.compile(
    r"token_ids?$|(^|_)(dropout|pdrop|layerdrop|drop_path_rate)(_|$)|^initializer_|^init_std$|^use_cache$"
    r"|^pretraining_tp$|^chunk_size_feed_forward$|^router_aux_loss_coef$|^output_router_logits$"
)


def defaults(cls):
    found = {}
    for f in fields(cls):
        if f.name in SHARED or HARMLESS.search(f.name):
            continue
        value = f.default if f.default is not MISSING else f.default_factory() if f.default_factory is not MISSING else None
        if value is not None:
            found[f.name] = list(value) if isinstance(value, tuple) else value
    if "rope_parameters" in {f.name for f in fields(cls)} and isinstance(cls.default_theta, (int, float)):
        found["rope_theta"] = cls.default_theta
        rope = getattr(cls(), "rope_parameters", None) or {}
        if rope.get("rope_type", "default") != "default":
            found["rope_parameters"] = rope
    for name, sub in cls.sub_configs.items():
        if name.endswith("_config") and hasattr(sub, "model_type") and sub.model_type:
            found[name] = defaults(sub)
    return found


def table(name, types):
    lines = [
        f"/** Fields of transformers {tf.__version__}'s config classes and their defaults but null, by model_type; made by test/golden/make_config_classes.py. */",
        "// biome-ignore format: a table",
        f"export const {name}: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {{",
    ]
    for kind in types:
        text = json.dumps(defaults(CONFIG_MAPPING[kind])).replace('"', "'")
        text = re.sub(r"'(\w+)': ", r"\1: ", text)
        key = kind if re.fullmatch(r"\w+", kind) else f"'{kind}'"
        lines += textwrap.wrap(f"{key}: {text},", 108, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, "}", ""])


def main():
    tf.logging.set_verbosity_error()
    for name, types in KINDS.items():
        with open(os.path.join(sys.argv[1], f"{name}.ts"), "w") as f:
            f.write(table(name, types))


main()
