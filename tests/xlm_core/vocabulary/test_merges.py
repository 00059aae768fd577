from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xlm_core.vocabulary.slow_merges import learn_slowly
from xlm_core.vocabulary import learn_merges

# Few letters give many repetitions, which overlap: aaaa, abab.
WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=12), st.integers(1, 5), max_size=10)


@given(WORDS, st.integers(0, 30), st.integers(2, 4))
def test_merges_are_those_of_the_definition(words: dict[str, int], num_merges: int, min_count: int):
    expected = learn_slowly(words, num_merges, min_count)
    assert [*learn_merges(words, num_merges, min_count=min_count)] == expected


def test_merges_of_real_text_are_those_of_the_definition(corpus: list[dict[str, str]]):
    words = Counter(word for row in corpus if row["lang"] in ("en", "tr") for word in row["text"].split())
    assert [*learn_merges(words, 150)] == learn_slowly(words, 150)


@given(WORDS, st.randoms())
def test_order_of_words_does_not_matter(words: dict[str, int], random: Random):
    shuffled = dict(random.sample([*words.items()], len(words)))
    assert [*learn_merges(shuffled, 50).items()] == [*learn_merges(words, 50).items()]


def test_ranks_count_from_zero():
    assert learn_merges({"low": 5, "lower": 2}, 3) == {("l", "o"): 0, ("lo", "w</w>"): 1, ("e", "r</w>"): 2}


def test_pairs_that_occur_once_are_not_merged():
    assert learn_merges({"abc": 1, "ab": 1}, 10, min_count=1) == {}


@pytest.mark.parametrize("word", ["", "x"])
def test_words_without_a_pair_give_no_merges(word: str):
    assert learn_merges({word: 5}, 10) == {}


def test_no_words_give_no_merges():
    assert learn_merges({}, 10) == {}


@pytest.mark.parametrize("char", [" ", "\u00a0", "\u3000", "\u2028", "\r", "\ud800", "\ufeff"])
def test_characters_that_cannot_be_written_to_a_table_are_not_merged(char: str):
    merges = learn_merges({f"ab{char}ab": 5, f"x{char}": 5}, 10)
    assert [*merges] == [("a", "b"), ("a", "b</w>")]


def test_no_merge_builds_a_reserved_symbol():
    words = {"<s>x": 9, "<s>y": 9}
    assert any("".join(pair) == "<s>" for pair in learn_merges(words, 10))
    merges = learn_merges(words, 10, reserved=["<s>"])
    assert [*merges] == learn_slowly(words, 10, reserved=["<s>"])
    assert merges
    assert all("".join(pair) != "<s>" for pair in merges)


def test_end_of_word_in_the_text_is_not_confused_with_the_mark():
    words = {"a</w>b": 7, "a": 3, "xa": 3, "a</w": 4}
    assert [*learn_merges(words, 50)] == learn_slowly(words, 50)


def test_large_counts_are_exact():
    assert [*learn_merges({"ab": 2**60, "cd": 2**60 + 1}, 1)] == [("c", "d</w>")]
