import unicodedata
from collections import Counter

import pytest

from xlm_core.text import Segmenters
from xlm_core.vocabulary import WordCounter
from xlm_core.vocabulary import word_counter as module


def count(text: str | list[str], lang: str | None, *, lowercase: bool = True, is_segmented: bool = False):
    counter = WordCounter(Segmenters(ja="fugashi"), lowercase=lowercase, is_segmented=is_segmented)
    return counter.count([text], [lang])[lang]


def test_words_are_those_of_the_segmenter():
    assert count("Hello, hello World!", "en") == {"hello": 2, ",": 1, "world": 1, "!": 1}
    assert count("Hello, hello World!", "en", lowercase=False) == {"Hello": 1, ",": 1, "hello": 1, "World": 1, "!": 1}


@pytest.mark.parametrize(
    ("lang", "text", "words"),
    [
        ("zh", "我喜欢北京。", ["我", "喜欢", "北京", "."]),
        ("ja", "東京に行く。", ["東京", "に", "行く", "."]),
        ("th", "ฉันชอบกรุงเทพ", ["ฉน", "ชอบ", "กรงเทพ"]),
        ("ko", "한국", [unicodedata.normalize("NFD", "한국")]),
    ],
)
def test_words_of_scripts_without_spaces_or_with_syllables(lang: str, text: str, words: list[str]):
    assert [*count(text, lang)] == words


def test_accents_are_removed_like_in_the_tokenizer():
    assert count("Été été ETE", "fr") == {"ete": 3}


def test_spaces_between_thai_words_are_words_unless_lower_cased():
    assert " " in count("ดี ดี", "th", lowercase=False)
    assert " " not in count("ดี ดี", "th")


def test_words_of_lists_are_segmented_one_by_one():
    assert count(["don't", "", "Stop."], "en") == {"don": 1, "'t": 1, "stop": 1, ".": 1}


def test_segmented_texts_are_only_split_at_spaces():
    assert count("Don't stop.", "en", is_segmented=True) == {"Don't": 1, "stop.": 1}


def test_languages_are_counted_separately():
    counter = WordCounter(Segmenters())
    assert counter.count(["the", "der", "the the", ""], ["en", "de", "en", None]) == {
        "en": {"the": 3},
        "de": {"der": 1},
        None: {},
    }
    assert counter.count([], []) == {}


def test_names_of_special_tokens_are_not_counted_if_they_become_tokens():
    texts = ["<s>low </s>low"]
    assert WordCounter(Segmenters(compat="reference")).count(texts, ["en"]) == {"en": {"low": 2}}
    assert "s" in WordCounter(Segmenters()).count(texts, ["en"])["en"]


def test_forgotten_words_are_counted_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MAX_REMEMBERED_WORDS", 3)
    counter = WordCounter(Segmenters())
    total = Counter[str]()
    for text in ("a b", "c d", "a e", "b a"):
        total += counter.count([text], ["en"])["en"]
    assert total == {"a": 3, "b": 2, "c": 1, "d": 1, "e": 1}
