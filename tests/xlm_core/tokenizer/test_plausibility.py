"""Vocabularies, merges and embeddings that do not belong together, and learned ones, which always do."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.demo.vocabulary import learn_merges
from xlm_core import Segmenters, TokenizerError
from xlm_core.tokenizer.bpe import read_merges, split_word
from xlm_core.tokenizer.plausibility import check_ids, check_merges, check_vocab_size

SPECIAL = {"<s>", "</s>", "<pad>", "<unk>", *(f"<special{i}>" for i in range(10))}


@pytest.fixture(scope="module")
def learned(corpus):
    """The words of all sentences with their counts, and the merges learned from them."""
    segmenters, counts = Segmenters(ja="fugashi"), {}
    for row in corpus:
        for word in segmenters.segment(row["text"], row["lang"]).words:
            counts[word.strip() or "x"] = counts.get(word.strip() or "x", 0) + 1
    return counts, [pair for pair, _ in learn_merges(counts, 4000)]


@pytest.fixture(scope="module")
def files(checkpoint):
    """The demo's vocabulary and merges."""
    vocab = json.loads((checkpoint / "vocab.json").read_text(encoding="utf-8"))
    return vocab, list(read_merges(checkpoint / "merges.txt"))


def check(vocab, merges):
    return check_merges(vocab, {pair: rank for rank, pair in enumerate(merges)}, SPECIAL, "merges.txt")


@given(num_merges=st.integers(1, 4000), min_count=st.integers(1, 30))
def test_learned_tables_are_accepted_with_any_size_and_frequency_threshold(learned, num_merges, min_count):
    counts, merges = learned
    merges = merges[:num_merges]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    frequency = {}
    for word, count in list(counts.items())[:: max(1, num_merges // 300)]:
        for token in split_word(word, ranks):
            frequency[token] = frequency.get(token, 0) + count
    vocab = {token for token, count in frequency.items() if count >= min_count} | SPECIAL
    assert check(vocab, merges) == []


@pytest.mark.parametrize("header", ["#version: 0.2"])
def test_a_header_line_is_accepted(files, header):
    vocab, merges = files
    assert check(vocab, [tuple(header.split()), *merges]) == []


def shuffled(merges):
    return random.Random(0).sample(merges, len(merges))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (shuffled, "lines that are no merges of characters or of results"),
        (sorted, "lines that are no merges of characters or of results"),
        (lambda merges: merges[::-1], "lines that are no merges of characters or of results"),
        (lambda merges: merges[len(merges) // 10 :], "lines that are no merges of characters or of results"),
        (lambda merges: merges[: len(merges) // 2], r"builds none of \d+ of the 2,834 tokens in the vocabulary"),
        (lambda merges: [(a, b.replace("</w>", "")) for a, b in merges], "fetch vocab.json and merges.txt again"),
        (lambda merges: [(f"{a}{b}",) for a, b in merges], "lines that are no merges of characters or of results"),
        (
            lambda merges: [tuple(symbol.encode().decode("latin-1") for symbol in pair) for pair in merges],
            "lines that are no merges of characters or of results",
        ),
        (lambda merges: [pair for pair in merges if "e" not in pair[0]], "fetch vocab.json and merges.txt again"),
    ],
    ids=["shuffled", "sorted", "reversed", "without head", "cut off", "without marks", "joined", "mojibake", "no e"],
)
def test_damaged_tables_are_refused(files, damage, problem):
    vocab, merges = files
    with pytest.raises(TokenizerError, match=rf"merges.txt: .*{problem}"):
        check(vocab, damage(merges))


def test_merges_of_other_languages_are_refused(learned, files):
    vocab, _ = files
    counts, _ = learned
    other = [pair for pair, _ in learn_merges({word: n for word, n in counts.items() if word.isascii()}, 4000)]
    with pytest.raises(TokenizerError, match="builds none of"):
        check(vocab, other)


def test_a_few_exceptions_are_a_warning(files):
    vocab, merges = files
    (warning,) = check(vocab, merges[:-200])
    assert "tokens in the vocabulary (" in warning
    assert warning.endswith("; check that both files are complete")
    (warning,) = check(vocab, [*merges, ("one",), ("a", "ab cd"), ("xyz", "x")])
    assert "got 3 of 1,787 lines" in warning
    assert check({*vocab, "newtoken</w>"}, merges) == []


def test_two_tokens_with_one_id_are_refused():
    check_ids({"a": 0, "b": 1}, "vocab.json")
    with pytest.raises(TokenizerError, match=r"vocab.json: id 1 is given to 'b' and to 'c', expected one token per id"):
        check_ids({"a": 0, "b": 1, "c": 1}, "vocab.json")


@pytest.mark.parametrize(
    ("ids", "num_embeddings", "outcome"),
    [
        (range(1000), 1000, None),
        (range(1000), 1024, None),  # padded to a multiple of 64
        (range(30_145), 30_208, None),  # to a multiple of 128
        (range(1000), 1023, "has 1,000 tokens, but the model has 1,023 embeddings; check that"),
        (range(950), 1000, "has 950 tokens, but the model has 1,000 embeddings; check that"),
        ([*range(500), *range(550, 1000)], 1000, "has 950 tokens"),  # a gap
        ([*range(500), *range(501, 200_000)], 200_000, None),  # two entries of an original release became one token
        (range(2_834), 30_145, TokenizerError),
        (range(880), 1000, TokenizerError),
        (range(1001), 1000, TokenizerError),
        ([], 1000, TokenizerError),
    ],
)
def test_vocabulary_and_embeddings_have_about_the_same_size(ids, num_embeddings, outcome):
    vocab = {f"t{i}": i for i in ids}
    if outcome is TokenizerError:
        with pytest.raises(TokenizerError, match="are from different checkpoints"):
            check_vocab_size(vocab, num_embeddings, "ckpt")
    else:
        assert [outcome in warning for warning in check_vocab_size(vocab, num_embeddings, "ckpt")] == [True] * bool(
            outcome
        )
