"""Writes reports.json: labels, and what scikit-learn's and seqeval's classification_report say of them.

    pip install scikit-learn seqeval && python test/evaluate/make_reports.py
"""

import json
import random
from importlib.metadata import version
from pathlib import Path

from seqeval.metrics import classification_report as entity_report
from sklearn.metrics import classification_report, confusion_matrix


def classes(seed, names, count, unseen=()):
    """Random classes, some confused, some that never occur or are never predicted."""
    draw = random.Random(seed)
    true = [draw.choice([n for n in names if n not in unseen]) for _ in range(count)]
    predicted = [t if draw.random() < 0.7 else draw.choice(names[: len(names) - 1]) for t in true]
    present = [n for n in names if n in true or n in predicted]
    report = classification_report(true, predicted, labels=present, output_dict=True, zero_division=0)
    matrix = confusion_matrix(true, predicted, labels=present).tolist()
    return dict(labels=names, true=true, predicted=predicted, present=present, report=report, matrix=matrix)


def entities(seed, texts):
    draw = random.Random(seed)
    tags = ["O", "O", "O", "B-city", "I-city", "B-person", "I-person", "B-date"]
    true = [[draw.choice(tags) for _ in range(draw.randint(1, 9))] for _ in range(texts)]
    predicted = [[t if draw.random() < 0.7 else draw.choice(tags) for t in row] for row in true]
    report = entity_report(true, predicted, output_dict=True, zero_division=0)
    return dict(labels=sorted(set(tags)), true=true, predicted=predicted, report=report)


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value


result = {
    "made with": {p: version(p) for p in ("scikit-learn", "seqeval")},
    "classes": [
        classes(1, ["ham", "spam"], 40),
        classes(2, ["a", "b", "c", "d", "e"], 60, unseen=("b",)),
        classes(3, [f"intent {i}" for i in range(30)], 200, unseen=("intent 4", "intent 29")),
    ],
    "entities": [entities(4, 25), entities(5, 3)],
}
Path(__file__).with_name("reports.json").write_text(json.dumps(plain(result), indent=None) + "\n")
