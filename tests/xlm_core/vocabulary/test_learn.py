from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlm_core import TokenizerError, XLMTokenizer
from xlm_core.text import Segmenters
from xlm_core.tokenizer import ALL_SPECIAL_TOKENS, TokenizerFiles, read_tokenizer_files, write_tokenizer_files
from xlm_core.vocabulary import WordCounter, count_tokens, learn_tokenizer, weigh_langs

Rows = list[dict[str, str]]
LangCounts = dict[str | None, Counter[str]]
SIZE = 2_500


def count_words(rows: Rows, *, lowercase: bool = True) -> LangCounts:
    counter = WordCounter(Segmenters(ja="fugashi"), lowercase=lowercase)
    return counter.count([row["text"] for row in rows], [row["lang"] for row in rows])


def load(folder: Path, files: TokenizerFiles) -> XLMTokenizer:
    write_tokenizer_files(folder, files)
    return XLMTokenizer.from_pretrained(folder, ja="fugashi")


@pytest.mark.parametrize("lowercase", [True, False])
def test_training_text_has_exactly_the_counted_tokens(corpus: Rows, tmp_path: Path, lowercase: bool):
    words = count_words(corpus, lowercase=lowercase)
    files = learn_tokenizer(words, 3_000, alpha=1, min_count=1, lowercase=lowercase)
    tokenizer = load(tmp_path, files)
    tokens = tokenizer.encode_texts([row["text"] for row in corpus], [row["lang"] for row in corpus])
    found = Counter(tokenizer.convert_ids_to_tokens(tokens.ids.tolist()))
    counted = count_tokens(weigh_langs(words, 1), files.merges, files.vocab)
    assert found == +Counter(counted)
    assert "<unk>" not in found
    assert tokenizer.lowercase is lowercase
    assert not tokenizer.warnings


def test_ids_descend_by_count_after_special_tokens(corpus: Rows):
    words = count_words(corpus)
    files = learn_tokenizer(words, SIZE, alpha=1)
    tokens = sorted(files.vocab, key=files.vocab.__getitem__)
    assert [*files.vocab.values()] == [*range(len(files.vocab))]
    assert tokens[:14] == ALL_SPECIAL_TOKENS
    counts = count_tokens(weigh_langs(words, 1), files.merges, tokens[14:])
    assert [*counts.values()] == sorted(counts.values(), reverse=True)
    assert len(tokens) == SIZE


def test_text_of_known_characters_has_no_unknown_tokens(corpus: Rows, tmp_path: Path):
    words = count_words(corpus)
    files = learn_tokenizer(words, SIZE, alpha=1)
    tokenizer = load(tmp_path, files)
    # Symbols that are always merged further in the training text are tokens of other texts.
    counts = count_tokens(weigh_langs(words, 1), files.merges, ["".join(pair) for pair in files.merges])
    unseen = {token for token, count in counts.items() if not count}
    text = " ".join(f"{token.removesuffix('</w>')}a a{token.removesuffix('</w>')}" for token in counts)
    tokens = tokenizer.tokenize(text, lang="en", bypass_tokenizer=True)
    assert unseen & {*tokens}
    assert {*tokens} <= files.vocab.keys()


def test_rare_characters_are_unknown(tmp_path: Path):
    words: LangCounts = {"en": Counter({"low": 5, "lower": 2, "ñu": 1})}
    tokenizer = load(tmp_path, learn_tokenizer(words, 40, min_count=2))
    assert "ñ" not in tokenizer.vocab
    tokens = tokenizer.encode_texts(["low ñu ñlow"], ["en"], bypass_tokenizer=True)
    assert tokenizer.convert_ids_to_tokens(tokens.ids.tolist()) == ["low</w>", "<unk>", "<unk>", "<unk>", "low</w>"]


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 3), min_size=1), st.randoms())
def test_any_words_give_a_tokenizer_that_splits_them(words: dict[str, int], random: Random):
    words["low"] = 2
    files = learn_tokenizer({"en": words}, 10_000, min_count=1)
    shuffled = dict(random.sample([*words.items()], len(words)))
    assert learn_tokenizer({"en": shuffled}, 10_000, min_count=1) == files
    counts = count_tokens(words, files.merges, files.vocab)
    assert sum(counts[token] * len(token.removesuffix("</w>")) for token in counts) == sum(
        count * len(word.replace(" ", "")) for word, count in words.items()
    )


def test_surrogates_and_control_characters_survive_writing(tmp_path: Path):
    words: LangCounts = {"en": Counter({"a\ud800b": 3, "a\u0000b": 3, "a\u2028b": 3, "\ufeffab": 3, "ab": 9})}
    files = learn_tokenizer(words, 100, lowercase=False)
    write_tokenizer_files(tmp_path, files)
    read = read_tokenizer_files(tmp_path)
    assert (read.vocab, read.merges) == (files.vocab, files.merges)


def test_alpha_raises_the_weight_of_small_languages():
    counts: LangCounts = {"en": Counter({"big": 300, "same": 100}), "sw": Counter({"ndogo": 3, "same": 1})}
    assert weigh_langs(counts, 1) == {"big": 300, "same": 101, "ndogo": 3}
    assert weigh_langs(counts, 0.5) == {"big": 300, "same": 110, "ndogo": 30}
    assert weigh_langs(counts, 0) == {"big": 300, "same": 200, "ndogo": 300}


def test_order_of_languages_does_not_matter(corpus: Rows):
    words = count_words(corpus)
    backwards = {lang: words[lang] for lang in reversed([*words])}
    files = learn_tokenizer(words, SIZE)
    assert learn_tokenizer(backwards, SIZE) == files
    assert [*files.lang2id] == sorted(files.lang2id) == sorted(map(str, words))


def test_languages_without_words_are_in_lang2id():
    assert learn_tokenizer({"sw": Counter(), None: Counter({"low": 5})}, 30).lang2id == {"sw": 0}


@pytest.mark.parametrize(
    ("words", "size", "problem"),
    [
        ({}, 100, "no character occurs 2 times in the texts"),
        ({"a": 1, "b": 1}, 100, "no character occurs 2 times in the texts"),
        ({"a": 5, "b": 5}, 100, "no two neighbouring characters occur 2 times in the texts"),
        ({"ab": 5}, 18, "vocab_size: got 18, but 2 characters that occur .* and 14 special tokens are 18 tokens"),
    ],
)
def test_invalid_input_has_one_clear_line(words: dict[str, int], size: int, problem: str):
    with pytest.raises(TokenizerError, match=f"^{problem}.*; ") as raised:
        learn_tokenizer({"en": words}, size)
    assert "\n" not in str(raised.value)
