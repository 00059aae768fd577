"""Words that are found chunk by chunk, from memory, are those of the whole text."""

from collections import Counter
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sacremoses import MosesTokenizer

from xlm_core import Segmenters
from xlm_core.text import WordFinder
from xlm_core.text.moses import NEUTRAL, load_moses
from xlm_core.text.words import locate_words

LANGS = [
    "en",
    "fr",
    "it",
    "de",
    "es",
    "cs",
    "pt",
    "ro",
    "ru",
    "el",
    "ar",
    "hi",
    "ko",
    "vi",
    "tr",
    "sw",
    "ga",
    "sv",
    "da",
    None,
]

# Each chunk reaches a rule that looks at its neighbours, or at characters that other chunks do not have.
# fmt: off
CHUNKS = [
    "Haus", "haus", "Σ", "ΣΑΣ", "Ñandú", "été", "شکر", "हिन्दी", "क़लम", "한국어", "東京", "x̂", "e\u0301", "İ", "ß",
    "1990", "7", "3rd", "Haus,", "haus.", "Haus.", "(Haus)", "„Haus“", '"Haus"', "«\u00a0Haus\u00a0»", "Haus!",
    "don't", "l’eau", "dogs'", "'tis", "'s", "rock'n'roll", "1990's", "1990's.", "a'b'c", "''", "'", "´", "`x`",
    "‘a’", "x''", "''x", "foo'", "'foo", "s", "'s'", "1'", "'1", "z.B.", "Nr.", "No.", "Mr.", "Dr.,", "p.ex.",
    "U.S.A.", "A.", "a.", "s.", "Ж.", "5.", "12.", "pp.", "Art.", "Inc.)", "e.g", "т.е.", "(", ")", "( ", " )",
    ").", ").,", "5 %", "5", "%", ":", ";", ",", ".", "!", "?", "-", "–", "—", "...", "…", "etc…", "....", "a..b",
    ',"', '",', '."', '.".', '..."', ".«", "'.", ".'", "foo.'", 'foo."', '"foo."', 'x,"', 'x".', "<", '."<', "<x>",
    ",5", "5,", "1,000.5", "1\u00a0000", "1\u00a02\u00a03", "5\u00a0%", "nº\u00a05", "x\u00a0:", "\u00a0",
    "\u00a0x", "x\u00a0", "10\u00a0cm", "mot\u00a0!", "\u3000", "。", "x。", "x。y", "．", "，", "、", "：", "５", "％",
    "（x）", "a-b", "a–b", "-", "--", "a/b", "@x", "a.b@c.de", "https://x.de/a?b=1", "\u200b", "x\u200by", "'\u200b",
    "\u00ad", "\ufeff", "\x00", "\x01x", "x\x7f", "\t", "a\tb", "\n", "x\r\ny", "\u0301", "\u0301x", "\ufe0f",
    "DOTMULTI", "DOTDOTMULTI", "xDOTMULTI.", "MULTI", "DOT", "DOT.MULTI", "🍜", "👩‍👩‍👧", "̈", "각", "\U0001d165", "½",
    "²", "º", "٣", "१२", "x" * 300, "ab.cd," * 60,
]
# fmt: on

chunks = st.one_of(
    st.sampled_from(CHUNKS),
    st.text(st.sampled_from("aAsé15'’\"“.,…:;()%-\u00a0«»Ж क़َ。\u200b"), min_size=1, max_size=6),
    st.text(max_size=5),
)
texts = st.lists(st.tuples(chunks, st.sampled_from([" ", " ", " ", "  ", "\n", ""])), max_size=8).map(
    lambda parts: "".join(chunk + space for chunk, space in parts)
)

_finders: dict[str, tuple[Segmenters, WordFinder, dict[object, int]]] = {}


def find(finder, words, texts, langs):
    """Return the words of each text, with their first characters."""
    known = list(words)
    found = finder.find(texts, langs)
    known = list(words)
    located = [
        (known[number], start) for number, start in zip(found.numbers.tolist(), found.starts.tolist(), strict=True)
    ]
    ends = found.sizes.cumsum().tolist()
    return [located[end - size : end] for end, size in zip(ends, found.sizes.tolist(), strict=True)]


def make_finder(compat):
    words: dict[object, int] = {}
    segmenters = Segmenters(ja="fugashi", zh="rjieba", compat=compat)
    return segmenters, WordFinder(segmenters, lambda word: words.setdefault(word, len(words))), words


@pytest.mark.parametrize("compat", ["default", "reference"])
@given(rows=st.lists(st.tuples(texts, st.sampled_from(LANGS)), min_size=1, max_size=4))
@settings(max_examples=600, deadline=None)
def test_words_found_by_chunks_are_those_of_the_whole_text(compat, rows):
    if compat not in _finders:
        _finders[compat] = make_finder(compat)  # remembers the chunks of all examples
    segmenters, finder, words = _finders[compat]
    whole = [list(zip(*locate_words(segmenters.segment(text, lang)), strict=True)) for text, lang in rows]
    assert find(finder, words, *zip(*rows, strict=True)) == whole


@pytest.mark.parametrize("langs", [("sv", "da"), ("it", "fr"), ("pl", "sk"), ("nl", "lt"), ("de", "es")])
def test_an_abbreviation_of_one_language_is_split_by_the_rules_of_another(langs):
    """`s.` is an abbreviation of the first language of most pairs, whose rules differ in little else."""
    segmenters, finder, words = make_finder("default")
    text = "s. A S. s.: (s.) Ss. ss. X. x. Xx. xx. Ende s."
    for lang in (*langs, *langs[::-1]):
        assert find(finder, words, [text], [lang]) == [
            list(zip(*locate_words(segmenters.segment(text, lang)), strict=True))
        ]


# fmt: off
SEGMENTED_CHUNKS = [
    "我们今天去北京大学", "东京へ行く", "東京", "ภาษาไทยง่าย", "ๆ", "x", "a-b", "5", "5.5",
    "１０", "DNA", "é", "e\u0301", "。", "．", "，", "、", "：",
    "；", ":", ";", "%", "％", "∶", "(", ")", "（",
    "）", "！", "?", ".", ",", "…", "—", "–", "「",
    "」", "『", "“", "”", "‘", "’", "'", "''", "«",
    "»", "„", "<", "〈", "～", "·", "\u00a0", "\u3000", "\u200b",
    "\t", "\n", "🍜", "( ", " )", ") .", "5 %", "各", "ｶﾅ",
]
# fmt: on
frequent = st.sampled_from([" ", "  ", "。", "：", "（", "）", "(", ")", "今天", "ไป", "5"])
segmented_texts = st.lists(
    st.one_of(st.sampled_from(SEGMENTED_CHUNKS), frequent, st.text(max_size=3)), max_size=10
).map("".join)
# Texts that are rewritten together, with rules that see their ends and the spaces in them.
edges = st.sampled_from(
    ["", "", " ", "  ", "。", "。 ", "．  ", "(", "( ", ")", ") ", " )", "%", " %", ":", " ;", "'", "—"]
)
rewritten_texts = st.lists(st.one_of(frequent, edges), max_size=8).map("".join)


@pytest.mark.parametrize("compat", ["default", "reference"])
@given(
    rows=st.lists(
        st.tuples(st.one_of(segmented_texts, rewritten_texts), st.sampled_from(["zh", "ja", "th"])),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=600, deadline=None)
def test_words_found_in_place_are_those_of_the_whole_text(compat, rows):
    if compat not in _finders:
        _finders[compat] = make_finder(compat)
    segmenters, finder, words = _finders[compat]
    whole = [list(zip(*locate_words(segmenters.segment(text, lang)), strict=True)) for text, lang in rows]
    assert find(finder, words, *zip(*rows, strict=True)) == whole


class CountingSegmenters(Segmenters):
    """Counts how often each text is cut."""

    def __init__(self):
        super().__init__(ja="fugashi")
        self.counts = Counter[str]()

    def cut(self, text: str, lang: str) -> list[str]:
        self.counts[text] += 1
        return super().cut(text, lang)


def test_short_texts_that_repeat_are_segmented_once():
    segmenters, words = CountingSegmenters(), {}
    finder = WordFinder(segmenters, lambda word: words.setdefault(word, len(words)))
    texts, langs = ["我们今天去北京。", "東京へ行く。", "ไปกรุงเทพ", "我们今天去北京。"], ["zh", "ja", "th", "zh"]
    calls = []
    for _ in range(2):
        finder.find(texts, langs, lambda: calls.append(sum(segmenters.counts.values())))
    assert calls == [1, 2, 3, 3] + [3] * 4
    assert set(segmenters.counts.values()) == {1}


def test_more_texts_than_are_located_at_once():
    segmenters, finder, words = make_finder("default")
    langs = ["zh", "th", "ja"]
    rows = [(f"{i}（今天）。 ไป 5 % ''", langs[i % 3]) for i in range(9000)]
    found = find(finder, words, *zip(*rows, strict=True))
    for i in range(0, len(rows), 1000):
        assert found[i] == list(zip(*locate_words(segmenters.segment(*rows[i])), strict=True))


def test_words_of_real_sentences_are_those_of_the_whole_text(real_corpora):
    """Every sentence in its own language, and in one with other rules for apostrophes, quotes and abbreviations."""
    segmenters, finder, words = make_finder("default")
    for name in ("ud_pos", "tatoeba"):
        rows = parquet.read_table(real_corpora / f"{name}.parquet", columns=["lang", "text"]).to_pylist()
        for first in range(0, len(rows), 500):
            here = [
                (text, lang)
                for i, row in enumerate(rows[first : first + 500])
                for text, lang in ((row["text"], row["lang"]), (row["text"], LANGS[i % len(LANGS)]))
            ]
            whole = [list(zip(*locate_words(segmenters.segment(text, lang)), strict=True)) for text, lang in here]
            assert find(finder, words, *zip(*here, strict=True)) == whole


@given(text=texts, lang=st.sampled_from(LANGS))
@settings(max_examples=500, deadline=None)
def test_moses_rules_with_guards_are_sacremoses_rules(text, lang):
    moses = load_moses(lang or NEUTRAL)
    assert moses.words(text) == MosesTokenizer.tokenize(_sacremoses(lang), text, escape=False)


@lru_cache
def _sacremoses(lang):
    tokenizer = MosesTokenizer(lang or NEUTRAL)
    if lang is None:
        tokenizer.NONBREAKING_PREFIXES = tokenizer.NUMERIC_ONLY_PREFIXES = []
    return tokenizer
