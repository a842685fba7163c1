"""Every config class of HF PEFT with its fields and their defaults: what `node scripts/fields.mjs` and test/methods/fields.test.ts hold our options against.

  python make_config_fields.py > config_fields.json

Needs peft (versions.json).
"""
import dataclasses, json

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING


def default(field):
    if field.default is not dataclasses.MISSING:
        return getattr(field.default, "value", field.default)
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    return made if isinstance(made, (dict, list)) else None


def main():
    every = {f.name for f in dataclasses.fields(peft.PeftConfig)}
    classes = {
        kind.value: {f.name: default(f) for f in dataclasses.fields(cls) if f.name not in every}
        for kind, cls in sorted(PEFT_TYPE_TO_CONFIG_MAPPING.items(), key=lambda entry: entry[0].value)
    }
    print(json.dumps({"peft": peft.__version__, "every": sorted(every), "classes": classes}, indent=1))


main()
