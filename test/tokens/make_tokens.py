"""Writes tokens.json: what tokenizers (Rust, from Python) makes of texts with tiny tokenizers, each with an option that others overlook.

python make_tokens.py    (tokenizers 0.23)
"""
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["[UNK]", "[CLS]", "[SEP]", "Zürich", "naïve", "a", "b", "c", "-", "a-", "-b", "the", "cat", "cats", "he", "llo", "1", "12", "é"]
VOCAB = {w: i for i, w in enumerate(WORDS)}


def words(pre=None, normalizer=None, unk="[UNK]"):
    tokenizer = Tokenizer(models.WordLevel(VOCAB, unk_token=unk))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def added(**options):
    tokenizer = words(pre_tokenizers.Whitespace())
    tokenizer.add_tokens([AddedToken("cat", **options)])
    return tokenizer


def framed():
    tokenizer = words(pre_tokenizers.Whitespace())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


TOKENIZERS = {
    "whitespace and accents": (words(pre_tokenizers.Whitespace()), "Zürich naïve é"),
    "whitespace split": (words(pre_tokenizers.WhitespaceSplit()), "a-b Zürich"),
    **{
        f"split {behaviour}": (words(pre_tokenizers.Split("-", behaviour)), "a-b")
        for behaviour in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    },
    "split inverted": (words(pre_tokenizers.Split(Regex("[a-c]"), "removed", invert=True)), "a-b-c"),
    "oniguruma": (words(pre_tokenizers.Split(Regex(r"(?>\p{N}{1,2})|\p{L}+"), "isolated")), "12 1é"),
    "punctuation": (words(pre_tokenizers.Punctuation("merged_with_previous")), "a-b"),
    "digits": (words(pre_tokenizers.Digits(individual_digits=True)), "112"),
    "single word": (added(single_word=True), "cats cat"),
    "not a single word": (added(single_word=False), "cats cat"),
    "stripped": (added(lstrip=True, rstrip=True), "the cat the"),
    "lower-cased": (words(pre_tokenizers.Whitespace(), normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])), "CAT É The"),
    "replaced": (words(pre_tokenizers.Whitespace(), normalizers.Replace(Regex("x+"), "a ")), "xxb xc"),
    "unknown": (words(pre_tokenizers.Whitespace()), "a dog"),
}


def main():
    cases = {
        name: {"file": json.loads(tokenizer.to_str()), "text": text, "ids": tokenizer.encode(text).ids}
        for name, (tokenizer, text) in TOKENIZERS.items()
    }
    tokenizer = framed()
    first, second = "a b c a b c", "the cat"
    cut = []
    for most in range(3, 13):
        tokenizer.enable_truncation(most, strategy="longest_first")
        both = tokenizer.encode(first, second)
        cut.append({"most": most, "ids": tokenizer.encode(first).ids, "pair": both.ids, "types": both.type_ids})
    tokenizer.no_truncation()
    framing = {"file": json.loads(tokenizer.to_str()), "first": first, "second": second, "cut": cut}
    out = {"cases": cases, "framing": framing}
    path = pathlib.Path(__file__).parent / "tokens.json"
    path.write_text(json.dumps(out, ensure_ascii=False).replace('}, "', '},\n"') + "\n", encoding="utf-8")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
