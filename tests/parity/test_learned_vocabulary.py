"""A learned vocabulary gives the same ids in the reference, which reads it from the files that are written here."""

from collections import Counter
from pathlib import Path

import pytest
import transformers

from xlm_core import Segmenters, XLMTokenizer
from xlm_core.tokenizer import write_tokenizer_files
from xlm_core.vocabulary import WordCounter, learn_tokenizer


@pytest.mark.parametrize("lowercase", [True, False])
def test_reference_gives_the_same_ids(corpus: list[dict[str, str]], tmp_path: Path, lowercase: bool):
    rows = [row for row in corpus if row["lang"] != "ja"]  # in the reference, Japanese needs a KyTea model
    texts, langs = [row["text"] for row in rows], [row["lang"] for row in rows]
    segmenters = Segmenters(zh="rjieba", compat="reference")
    words = WordCounter(segmenters, lowercase=lowercase).count(texts, langs)
    files = learn_tokenizer(words, 4_000, min_count=1, lowercase=lowercase)
    write_tokenizer_files(tmp_path, files)
    reference = transformers.XLMTokenizer.from_pretrained(tmp_path)
    ours = XLMTokenizer.from_pretrained(tmp_path, zh="rjieba", compat="reference")
    expected = [
        reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))
        for text, lang in zip(texts, langs, strict=True)
    ]
    tokens = ours.encode_texts(texts, langs)
    assert [[token.id for token in text] for text in tokens.to_lists()] == expected
    assert reference.unk_token_id not in Counter(tokens.ids.tolist())
    assert reference.do_lowercase_and_remove_accent is lowercase
    assert reference.convert_ids_to_tokens(range(14)) == ours.convert_ids_to_tokens(range(14))
