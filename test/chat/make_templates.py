"""Writes templates.json: what transformers' apply_chat_template makes of the templates beside this file.

python make_templates.py    (transformers 5.24, jinja2 3.1.6)
"""
import datetime as real
import json
import pathlib

import transformers.utils.chat_template_utils as chat
from features import FEATURES
from families import FAMILIES
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TOKENIZER = HERE.parent.parent / "examples/support-intents/model/tokenizer.json"


class Fixed(real.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 2)


chat.datetime = Fixed

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "forecast",
            "description": "The weather's forecast, \"in short\"",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "A city"},
                    "days": {"type": "integer"},
                    "units": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["city"],
            },
        },
    }
]
CALL = {"type": "function", "function": {"name": "forecast", "arguments": {"city": "Zürich", "days": 2, "factor": 30.0}}}
CONVERSATIONS = {
    "plain": {"messages": [{"role": "user", "content": "Hello there, who are you?"}, {"role": "assistant", "content": "  A model.\n"}]},
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief. /think"},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "\n\n    return 1"},
            {"role": "user", "content": "Why 😀?\n"},
            {"role": "assistant", "content": "Because <it> is."},
        ]
    },
    "thoughts": {
        "messages": [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."},
            {"role": "user", "content": "Two?"},
            {"role": "assistant", "content": "No.", "reasoning_content": "two is\nmore"},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "Weather in Zürich?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "{\"rain\": true}", "name": "forecast"},
            {"role": "assistant", "content": "Rain."},
        ],
        "tools": TOOLS,
    },
    "prompt": {"messages": [{"role": "user", "content": "Hello"}], "prompt": True},
}


def expected(tokenizer, template, conversation):
    options = {
        "tools": conversation.get("tools"),
        "chat_template": template,
        "add_generation_prompt": conversation.get("prompt", False),
    }
    try:
        text = tokenizer.apply_chat_template(conversation["messages"], tokenize=False, **options)
    except Exception as error:  # whatever transformers raises, a template that fails there must fail here
        return {"error": type(error).__name__}
    if "generation %}" not in template and "generation -%}" not in template:
        return {"text": text}
    out = tokenizer.apply_chat_template(
        conversation["messages"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **options
    )
    return {"text": text, "ids": out["input_ids"], "mask": out["assistant_masks"]}


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    names = [str(t) for t in tokenizer.added_tokens_decoder.values()]
    templates = {}
    for name, template in {**FAMILIES, **FEATURES}.items():
        wanted = CONVERSATIONS if name in FAMILIES or name.startswith("generation") else ["plain", "system", "tools"]
        templates[name] = {
            "template": template,
            "expected": {key: expected(tokenizer, template, CONVERSATIONS[key]) for key in wanted},
        }
    out = {"conversations": CONVERSATIONS, "added": names, "templates": templates}
    (HERE / "templates.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(templates), "templates,", sum(len(t["expected"]) for t in templates.values()), "renderings")


if __name__ == "__main__":
    main()
