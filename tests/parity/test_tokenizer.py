"""Ids are exactly those of the reference, for every language and segmenter."""

import random
import string
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from Mykytea import Mykytea
from pyarrow import parquet

from xlm_core import Segmenters, XLMTokenizer
from xlm_core.tokenizer.bpe import read_merges, split_word

LANGS = ["en", "fr", "de", "es", "pt", "it", "ro", "ru", "el", "bg", "ar", "hi", "tr", "vi", "th", "zh", "sw"]

# Each text reaches a rule that ordinary texts do not.
ODD_TEXTS = [
    "",
    " ",
    "\t\n",
    "a\tb\r\nc\x0bd\u2028e",
    "</s> <special1> text <pad><unk>",
    "literal DOTMULTI and DOTDOTMULTI. and ....... dots..",
    'wait… ... what.\' he said "so," (ok ) ; : ! %',
    "3 % of 1,000.50 and 1\u00a0000 or 5\u00a0% nº\u00a05",
    "\u00ab\u00a0Bonjour\u00a0\u00bb, l'eau qu'il aime ''bien''",
    "İstanbul ΑΣ ΣΑΣ ﬁ ǅ ß ẞ Å Å e\u0301\u0323 가각 각",
    "„Anfang“ – Mitte — ‚Ende‘",
    "Şţ şŢ ăâî ĂÂÎ ȘȚ",
    "。．，、”“∶：？《》）！（；１」「０３２５６９７８４～’…━〈〉【】％",
    "x\u200by\u200d\ufeff\u00ad\x00\x01z",
    "👩‍👩‍👧 emoji 🍜 \U0001d165\U0001d16d",
    "Mr. Smith went to Washington D.C. on Jan. 5. No. 7",
    "e-mail a.b@c.example.org and https://x.example.org/a?b=c&d=%20",
    "ก  ข \u00a0ค",
    "\u3000全角\u3000空白\u3000",
    "-" * 300,
    "aaaa" * 300,
    '..". .." a .".."b ... "c" ... "',
    "DOTDOT DOTMULTIDOT MULTI .DOTMULTI. ..DOT",
    "๑๒๓ 12345 1.5 1,000.25 10:30:59 1..2 1,,2",
]


@pytest.fixture(scope="module")
def checkpoint(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the vocabulary of the demo: without a list of languages, every language code is used as it is."""
    folder = tmp_path_factory.mktemp("vocabulary")
    for file in ("vocab.json", "merges.txt"):
        (folder / file).write_bytes((demo / "checkpoint" / file).read_bytes())
    return folder


def load(checkpoint: Path, lowercase: bool, compat: Any = "default", **choices: Any) -> XLMTokenizer:
    return XLMTokenizer.from_pretrained(checkpoint, lowercase=lowercase, zh="rjieba", compat=compat, **choices)


def load_reference(checkpoint: Path, lowercase: bool) -> Any:
    return transformers.XLMTokenizer(
        str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt"), do_lowercase_and_remove_accent=lowercase
    )


def ids(tokenizer: XLMTokenizer, text: str, lang: str) -> list[int]:
    return tokenizer.encode_batch([text], [lang]).input_ids[1:-1].tolist()


def reference_ids(reference: Any, text: str, lang: str) -> list[int]:
    return reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))


def is_plain(text: str) -> bool:
    """Whether the default must give the reference's ids: it handles line breaks and decomposed text differently."""
    return not any(c in text for c in "\t\n") and unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize("compat", ["default", "reference"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_of_the_corpus_in_every_language(checkpoint, corpus, lowercase, compat):
    ours, reference = load(checkpoint, lowercase, compat), load_reference(checkpoint, lowercase)
    different = []
    for row in corpus:
        if row["lang"] == "ja":  # needs a KyTea model, see below
            continue
        if compat == "default" and not is_plain(row["text"]):
            continue
        if ids(ours, row["text"], row["lang"]) != reference_ids(reference, row["text"], row["lang"]):
            different.append(row)
    assert not different


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_of_unusual_texts(checkpoint, lowercase):
    ours, reference = load(checkpoint, lowercase, "reference"), load_reference(checkpoint, lowercase)
    no_control = [text for text in ODD_TEXTS if "</s>" not in text]  # `_tokenize` does not support control tokens
    different = [
        (lang, text)
        for text in no_control
        for lang in LANGS
        if ids(ours, text, lang) != reference_ids(reference, text, lang)
    ]
    assert not different


odd_characters = st.sampled_from([*".\"'…’«» ,DOTMULI()-–%12٣", "\u00a0", "\u0301", "..", "DOTMULTI", "ß", "İ", "각"])


@given(
    text=st.lists(st.one_of(st.characters(codec="utf-8"), odd_characters), max_size=60).map("".join),
    lang=st.sampled_from(LANGS),
    lowercase=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_ids_of_any_text(checkpoint, text, lang, lowercase):
    ours, reference = load_cached(checkpoint, lowercase)
    assert ids(ours, text, lang) == reference_ids(reference, text, lang)


_loaded: dict[bool, tuple[XLMTokenizer, Any]] = {}


def load_cached(checkpoint: Path, lowercase: bool) -> tuple[XLMTokenizer, Any]:
    if lowercase not in _loaded:
        _loaded[lowercase] = load(checkpoint, lowercase, "reference"), load_reference(checkpoint, lowercase)
    return _loaded[lowercase]


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_of_japanese_with_kytea(checkpoint, corpus, kytea_model, lowercase):
    ours, reference = load(checkpoint, lowercase, kytea_model=kytea_model), load_reference(checkpoint, lowercase)
    reference.ja_word_tokenizer = Mykytea(f"-model {kytea_model}")
    texts = [row["text"] for row in corpus if row["lang"] == "ja"] + ["全角　空白 と ｶﾅ。", "パ—マ", "𠮷野家🍜"]
    assert [ids(ours, t, "ja") for t in texts] == [reference_ids(reference, t, "ja") for t in texts]


def test_ids_of_japanese_with_the_same_segmenter(checkpoint, corpus):
    """Compare the steps around segmentation: the reference uses our segmenter instead of KyTea."""
    ours, reference = load(checkpoint, True, ja="fugashi"), load_reference(checkpoint, True)
    segment = Segmenters(ja="fugashi")._segmenter("ja")
    reference.ja_word_tokenizer = SimpleNamespace(getWS=segment)
    texts = [row["text"] for row in corpus if row["lang"] == "ja"]
    assert [ids(ours, t, "ja") for t in texts] == [reference_ids(reference, t, "ja") for t in texts]


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_of_real_corpora(checkpoint, real_corpora, kytea_model, lowercase):
    ours, reference = load(checkpoint, lowercase, kytea_model=kytea_model), load_reference(checkpoint, lowercase)
    reference.ja_word_tokenizer = Mykytea(f"-model {kytea_model}")
    rows = parquet.read_table(real_corpora / "ud_pos.parquet", columns=["lang", "text"]).to_pylist()[::9]
    rows += parquet.read_table(real_corpora / "tatoeba.parquet", columns=["lang", "text"]).to_pylist()[::9]
    different = [
        row
        for row in rows
        if is_plain(row["text"])
        and ids(ours, row["text"], row["lang"]) != reference_ids(reference, row["text"], row["lang"])
    ]
    assert len({row["lang"] for row in rows}) == 25
    assert not different


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_ids_of_texts_that_contain_control_tokens(checkpoint, text):
    """The reference's public call segments as English and converts control tokens in texts; so does our compat mode."""
    ours, reference = load_cached(checkpoint, True)
    assert ours.encode_batch([text], ["en"]).input_ids.tolist() == reference(text)["input_ids"]


@pytest.mark.parametrize("tokens", [["<special0>"], ["<special0>", "<special4>"], []])
def test_ids_of_texts_with_the_control_tokens_of_a_checkpoint(checkpoint, tmp_path, tokens):
    reference = transformers.XLMTokenizer(
        str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt"), additional_special_tokens=tokens
    )
    reference.save_pretrained(tmp_path)
    ours = XLMTokenizer.from_pretrained(tmp_path, compat="reference")
    for text in ("a <special4> b <special0>", "</s><special1> c"):
        assert ours.encode_batch([text], ["en"]).input_ids.tolist() == reference(text)["input_ids"]


@pytest.mark.parametrize("seed", range(40))
def test_truncation_of_texts_and_pairs(checkpoint, seed):
    rng = random.Random(seed)
    ours, reference = load_cached(checkpoint, True)
    first, second = (
        " ".join("".join(rng.choices(string.ascii_letters, k=rng.randint(1, 9))) for _ in range(rng.randint(1, 12)))
        for _ in range(2)
    )
    max_length = rng.randint(3, 40)
    alone = reference(first, truncation=True, max_length=max_length)["input_ids"]
    assert ours.encode_batch([first], ["en"], max_length=max_length).input_ids.tolist() == alone
    pair = reference(first, second, truncation=True, max_length=max_length)["input_ids"]
    found = ours.encode_batch([first], ["en"], pairs=[second], max_length=max_length)
    assert found.input_ids.tolist() == pair
    full = len(reference(first, second)["input_ids"])
    assert found.num_truncated.tolist() == [full - len(pair)]


letters = st.text("abc", min_size=1, max_size=3)


@given(pairs=st.lists(st.tuples(letters, letters), max_size=30), word=st.text("abc", min_size=1, max_size=30))
@settings(max_examples=500, deadline=None)
def test_merges_are_applied_in_the_order_of_their_ranks(tmp_path_factory, pairs, word):
    """Use arbitrary merge tables. All occurrences of the best pair are merged before any other pair."""
    folder = tmp_path_factory.mktemp("bpe")
    lines = [f"{a} {b}{random.choice(['', ' 12', '</w> 7'])}\n" for a, b in pairs] + ["a b</w> 3\n"]
    (folder / "merges.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "vocab.json").write_text('{"<unk>": 0}', encoding="utf-8")
    reference = transformers.XLMTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    assert split_word(word, read_merges(folder / "merges.txt")) == reference.bpe(word).split(" ")


def test_the_vocabulary_resembles_the_released_ones(checkpoint):
    """It has merges whose results are not in the vocabulary, and a column of counts. The tests above rely on both."""
    lines = (checkpoint / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert all(len(line.split()) == 3 for line in lines)
    tokenizer = load(checkpoint, True)
    built = {"".join(line.split()[:2]) for line in lines}
    assert len(built - tokenizer.vocab.keys()) > 100
