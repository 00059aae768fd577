"""Properties of the tokenizer apart from the reference's ids: offsets, control tokens, languages, long texts."""

import json
import pickle
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlm_core import Segmenters, TokenizerError, XLMTokenizer
from xlm_core.languages import resolve_lang
from xlm_core.text import lower_and_strip_accents

LANGS = ["en", "fr", "de", "es", "pt", "it", "ro", "ru", "el", "bg", "ar", "hi", "tr", "vi", "th", "zh", "ja", "sw"]


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint, ja="fugashi")


@pytest.fixture(scope="module")
def cased(checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint, ja="fugashi", lowercase=False)


def check_offsets(text, encoding):
    """Check that offsets are monotone and in range, and cover every character that normalization keeps."""
    offsets = encoding.offsets[encoding.word_ids >= 0]
    assert (encoding.offsets[encoding.word_ids < 0] == -1).all()
    if len(offsets):
        assert (offsets[:, 0] <= offsets[:, 1]).all()
        assert (np.diff(offsets, axis=0) >= 0).all()
        assert offsets.min() >= 0
        assert offsets.max() <= len(text)
    covered = np.zeros(len(text) + 1, bool)
    for start, end in offsets:
        covered[start:end] = True
    lost = [
        c
        for c, is_covered in zip(text, covered, strict=False)
        if not is_covered and unicodedata.category(c)[0] not in "CZM"
    ]
    assert not lost


def test_offsets_cover_the_sentences_of_the_corpus(tokenizer, corpus):
    for row in corpus:
        check_offsets(row["text"], tokenizer.encode_batch([row["text"]], [row["lang"]]))


@given(
    text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" .,'\"()-…«»“”。：０é́\u00a0")), max_size=50),
    lang=st.sampled_from(LANGS),
    lowercase=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_offsets_cover_any_text(tokenizer, cased, text, lang, lowercase):
    # normalization keeps letters, digits and punctuation, but can delete marks and control characters
    check_offsets(text, (tokenizer if lowercase else cased).encode_batch([text], [lang]))


@pytest.mark.parametrize(
    ("text", "lang", "words"),
    [
        ("Das kostet 3\u00a0%, oder?", "de", ["Das", "kostet", "3", "%", ",", "oder", "?"]),
        ("« L’eau… »", "fr", ["«", "L’", "eau", "…", "»"]),
        ("Déjà vu: 5″ ½ ŉ", "en", ["Déjà", "vu", ":", "5", "″", "½", "ŉ"]),
        ("İyi günler", "tr", ["İyi", "günler"]),
        ("他说：“你好。”", "zh", ["他", "说：", "“", "你好", "。", "”"]),
        ("「東京」へ行く。", "ja", ["「", "東京", "」", "へ", "行く", "。"]),
    ],
)
def test_offsets_of_words_quote_the_original_text(tokenizer, text, lang, words):
    encoding = tokenizer.encode_batch([text], [lang])
    found = []
    for word in range(encoding.word_ids.max() + 1):
        here = encoding.offsets[encoding.word_ids == word]
        found.append(text[here[0, 0] : here[-1, 1]])
    assert found == words


def test_tabs_and_line_breaks_separate_words(tokenizer, checkpoint):
    plain = tokenizer.encode_batch(["one two three"], ["en"]).input_ids
    for text in ("one\ttwo\nthree", "one\r\ntwo\x0b three", "\none \x85two\tthree\n"):
        assert tokenizer.encode_batch([text], ["en"]).input_ids.tolist() == plain.tolist()
    reference_like = XLMTokenizer.from_pretrained(checkpoint, compat="reference")
    joined = reference_like.encode_batch(["one\ttwo\nthree"], ["en"]).input_ids
    assert joined.tolist() == tokenizer.encode_batch(["onetwothree"], ["en"]).input_ids.tolist()


@pytest.mark.parametrize("token", ["</s>", "<s>", "<pad>", "<special1>", "<unk>"])
@pytest.mark.parametrize("lang", ["en", "zh", "th", "ja", None])
def test_no_text_produces_control_tokens(tokenizer, token, lang):
    ids = tokenizer.encode_batch([f"a {token} b{token}{token}"], [lang]).input_ids[1:-1].tolist()
    control = {tokenizer.vocab[t] for t in ("</s>", "<s>", "<pad>", "<special1>")}
    assert not control & set(ids)


def test_merges_that_build_a_control_token_produce_the_unknown_token(checkpoint, tmp_path):
    """Merges build `</s>` from its characters, within one word that Chinese segmentation does not split."""
    vocab = {t: i for i, t in enumerate(["<s>", "</s>", "<pad>", "<unk>", "<special1>", "x</w>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("< / 1\n</ s 1\n</s > 1\n")
    tokenizer = XLMTokenizer.from_pretrained(tmp_path)
    assert [subword for subword, _, _ in tokenizer._encoder._encode_word.split("</s>x")] == ["</s>", "x</w>"]
    assert tokenizer._encoder._encode_word.encode(["</s>x"]).ids.tolist() == [vocab["<unk>"], vocab["x</w>"]]


def test_a_row_does_not_depend_on_its_batch(tokenizer, corpus):
    rows = corpus[::11]
    batch = tokenizer.encode_batch([r["text"] for r in rows], [r["lang"] for r in rows])
    for b, row in enumerate(rows):
        alone = tokenizer.encode_batch([row["text"]], [row["lang"]])
        here = slice(batch.cu_seqlens[b], batch.cu_seqlens[b + 1])
        assert batch.input_ids[here].tolist() == alone.input_ids.tolist()
        assert batch.offsets[here].tolist() == alone.offsets.tolist()
        assert batch.word_ids[here].tolist() == alone.word_ids.tolist()


LONG_RUNS = ["a" * 250_000, "ab" * 30_000, "x y " * 15_000, "." * 60_000, "é" * 30_000, "DOT" * 30_000, "1" * 30_000]


@pytest.mark.long
@pytest.mark.parametrize("lang", ["en", "de", "th", "ja", None])
def test_long_runs_of_characters_take_linear_time(tokenizer, lang):
    """With a rule that takes quadratic time or crashes the process, this test would not finish."""
    for text in LONG_RUNS:
        encoding = tokenizer.encode_batch([text], [lang], max_length=128)
        assert 2 < len(encoding.input_ids) <= 128


def test_long_japanese_texts_are_split_between_words(tokenizer, corpus):
    """MeCab gets long texts in parts; short texts are segmented in one piece."""
    sentence = next(row["text"] for row in corpus if row["lang"] == "ja" and row["text"].endswith("。"))
    whole = tokenizer.encode_batch([sentence * 3000], ["ja"])
    one = tokenizer.encode_batch([sentence], ["ja"])
    assert len(sentence * 3000) > 20_000
    assert whole.input_ids[1:-1].tolist() == one.input_ids[1:-1].tolist() * 3000
    check_offsets(sentence * 3000, whole)


@pytest.mark.parametrize(
    ("code", "known", "expected"),
    [
        ("zh", {"zh"}, "zh"),
        ("zh-Hans", {"zh", "en"}, "zh"),
        ("zh_CN", {"zh", "en"}, "zh"),
        ("zh-Hant-TW", {"zh"}, "zh"),
        ("ZH", {"zh"}, "zh"),
        ("cmn", {"zh"}, "zh"),
        ("pt-BR", {"pt"}, "pt"),
        ("deu", {"de"}, "de"),
        ("iw", {"he"}, "he"),
        ("nb", {"no"}, "no"),
        ("nb-NO", {"no"}, "no"),
        ("yue", {"zh_yue", "zh"}, "zh_yue"),
        ("zh-yue", {"zh_yue", "zh"}, "zh_yue"),
        ("lzh", {"zh_classical", "zh"}, "zh_classical"),
        ("fil", {"tl"}, "tl"),
        ("tlh", {"en", "zh"}, None),
        ("", {"en"}, None),
        ("e", {"en"}, None),
        ("english", {"en"}, None),
    ],
)
def test_language_codes_resolve_to_those_of_the_checkpoint(code, known, expected):
    assert resolve_lang(code, known) == expected


def test_codes_select_the_segmenter_without_lang2id(checkpoint, tmp_path):
    """A checkpoint without lang2id segments Chinese as Chinese, for every form of its code."""
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((checkpoint / file).read_bytes())
    tokenizer = XLMTokenizer.from_pretrained(tmp_path, ja="fugashi")
    text = "我们今天去北京大学。"
    plain = tokenizer.encode_batch([text], ["zh"]).input_ids.tolist()
    for code in ("zh-CN", "zh_Hans", "ZH", "zho", "cmn-Hans-CN"):
        assert tokenizer.encode_batch([text], [code]).input_ids.tolist() == plain
    assert tokenizer.encode_batch([text], ["en"]).input_ids.tolist() != plain
    assert tokenizer.resolve_lang("xyz-Latn") == "xyz"
    with pytest.raises(ValueError, match="lang: 'tlh' is not in the checkpoint's lang2id"):
        XLMTokenizer.from_pretrained(checkpoint).encode_batch(["nuqneH"], ["tlh"])


def test_japanese_without_a_model_raises_with_the_next_step(checkpoint, tmp_path):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    with pytest.raises(TokenizerError, match=r"set tokenizer\.kytea_model .* or tokenizer\.ja to fugashi"):
        tokenizer.encode_batch(["東京"], ["ja"])
    (tmp_path / "model.bin").write_bytes(b"not a model, and long enough")
    for path, reason in ((tmp_path / "none.bin", "no such KyTea model"), (tmp_path / "model.bin", "not a KyTea model")):
        tokenizer = XLMTokenizer.from_pretrained(checkpoint, kytea_model=path)
        with pytest.raises(TokenizerError, match=reason):
            tokenizer.encode_batch(["東京"], ["ja"])
    assert len(tokenizer.encode_batch(["Other languages work."], ["en"]).input_ids) > 2


def test_a_tokenizer_with_kytea_can_be_pickled(checkpoint, kytea_model):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint, kytea_model=kytea_model)
    before = tokenizer.encode_batch(["東京へ行く。"], ["ja"]).input_ids.tolist()
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode_batch(["東京へ行く。"], ["ja"]).input_ids.tolist() == before


@pytest.mark.parametrize(("column", "name"), enumerate(["texts", "langs", "pairs"]))
def test_a_string_instead_of_a_list_is_rejected(tokenizer, column, name):
    columns = [["ab", "cd"], ["en", "de"], ["ef", "gh"]]
    columns[column] = "en"
    with pytest.raises(ValueError, match=f"{name}: got a single string 'en', expected a list"):
        tokenizer.encode_batch(*columns)


def test_segmenters_are_described_with_their_versions():
    described = Segmenters(zh="rjieba", ja="fugashi").describe({"zh", "ja"})
    assert set(described) == {"moses", "zh", "ja"}
    assert described["zh"].startswith("rjieba 0.")
    assert re.fullmatch(r"fugashi 1\.[\d.]+, unidic-lite 1\.[\d.]+", described["ja"])


@given(st.text(max_size=20))
@settings(max_examples=300)
def test_lowercasing_maps_characters_to_their_sources(word):
    text, sources = lower_and_strip_accents(word)
    lowered = unicodedata.normalize("NFD", word.lower())
    assert text == "".join(c for c in lowered if unicodedata.category(c) != "Mn").lower()
    assert len(sources) == len(text)
    assert sources == sorted(sources)
    assert all(0 <= source < len(word) for source in sources)
