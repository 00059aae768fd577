"""Decomposed text (NFD, as from macOS and PDF extraction) gets the ids of composed text, and offsets into itself."""

import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xlm_core.decoding.attached_marks import is_attached
from xlm_core import XLMTokenizer
from xlm_core.text.aligned import AlignedText
from xlm_core.text.composition import compose

LANGS = ["en", "fr", "vi", "el", "ru", "hi", "ar", "th", "zh", "ja", None]

# Texts that each need another part of the algorithm.
TEXTS = [
    "Gérard était à l’école, Ångström aussi.",
    "Tiếng Việt có nhiều dấu: ệ ộ ỡ ự ẵ",  # two marks on one letter
    "각 나라의 말, 한국어",  # syllables of two and three Jamo
    "\u212b \u2126 \u212a \u037e \uf900",  # characters that normalization replaces by another one
    "\u0958 \u09dc \ufb2a \u0344",  # characters that normalization decomposes
    "e\u0301\u0323 q\u0301\u0323 x\u0338\u0301",  # marks out of canonical order; letters without a composed form
    "Ọ̀rọ̀ ẹ̀kọ́ ❤\ufe0f",
    "มีน้ำ กำลัง",
    "がぎぐげご パピプペポ",
    "İstanbul ΑΣ Ά ΐ ϓ",
    "\u0301 mark without a letter",
    "a\u0315\u0300\u05ae\u0301b c\u0327\u0301",
]
CHARS = [
    *"aeqx .,'",
    *"éÅệḍ각가ぱがক়",
    *"\u0300\u0301\u0302\u0323\u0327\u0338\u0345\u05b4\u064b\u0653\u093c\u094d\u09be\u09c7\u0e48\u3099\ufe0f\u20e3",
    *"\u0344\u0f73\u0f75\u0958\u09dc\ufb1d\u212b\u2126\u037e\uf900\U0001d15e\U0001d165\U0002f800",
    *"\u1100\u1161\u11a8\u1112\u1175\u11c2\u110b",
]
any_text = st.lists(st.one_of(st.sampled_from(CHARS), st.characters(codec="utf-8")), max_size=30).map("".join)


@pytest.fixture(scope="module", params=[True, False], ids=["lower-cased", "cased"])
def tokenizer(request, checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint, ja="fugashi", lowercase=request.param)


def forms(text):
    return [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]


def check_forms(tokenizer, text, lang):
    """Check that the forms of a text have equal ids, and that each token quotes the same characters in each form."""
    texts = forms(text)
    encodings = [tokenizer.encode_batch([form], [lang]) for form in texts]
    surfaces = []
    for form, encoding in zip(texts, encodings, strict=True):
        assert encoding.input_ids.tolist() == encodings[0].input_ids.tolist()
        assert encoding.word_ids.tolist() == encodings[0].word_ids.tolist()
        offsets = encoding.offsets[encoding.word_ids >= 0]
        assert (np.diff(offsets, axis=0) >= 0).all()
        surfaces.append([unicodedata.normalize("NFC", form[start:end]) for start, end in offsets.tolist()])
    return surfaces


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("lang", LANGS)
def test_nfd_and_nfc_have_equal_ids_and_offsets_into_their_own_text(tokenizer, text, lang):
    check_forms(tokenizer, text, lang)


@given(text=any_text, lang=st.sampled_from(LANGS))
def test_forms_of_any_text_have_equal_ids(tokenizer, text, lang):
    check_forms(tokenizer, text, lang)


def test_sentences_of_all_languages_have_equal_ids_and_surfaces(tokenizer, corpus):
    for row in corpus:
        composed, _, decomposed = check_forms(tokenizer, unicodedata.normalize("NFC", row["text"]), row["lang"])
        if row["lang"] == "ar":  # canonical order puts a vowel between alef and its hamza: one span for all three
            assert all(short in long for short, long in zip(composed, decomposed, strict=True))
        else:
            assert composed == decomposed


def test_words_of_lists_and_pairs_are_composed_too(tokenizer):
    words = ["Gérard", "était", "là", ",", "Ångström"]
    lists, texts = ([unicodedata.normalize(form, word) for word in words] for form in ("NFC", "NFD"))
    for first, second in ((lists, texts), (" ".join(lists), " ".join(texts))):
        found = [
            tokenizer.encode_batch([row], ["fr"], [row], max_length=12, overlap=2).input_ids.tolist()
            for row in (first, second)
        ]
        assert found[0] == found[1]
    encoding = tokenizer.encode_batch([texts], ["fr"])
    joined = " ".join(texts)
    for number, word in enumerate(texts):
        offsets = encoding.offsets[encoding.word_ids == number]
        assert joined[offsets[0, 0] : offsets[-1, 1]] == word


def test_the_reference_mode_leaves_text_as_it_is(checkpoint):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint, compat="reference")
    composed, decomposed = (tokenizer.encode_batch([form], ["fr"]) for form in forms("Gérard")[1:])
    assert decomposed.word_ids.max() > composed.word_ids.max()


@given(any_text)
def test_clusters_are_composed_as_unicode_defines_it(text):
    aligned = AlignedText(text)
    compose(aligned)
    assert aligned.text == unicodedata.normalize("NFC", text)
    spans = [aligned.span(i, i + 1) for i in range(len(aligned.text))]
    assert sorted(spans) == spans
    for char, (start, end) in zip(aligned.text, spans, strict=True):
        # the original characters of each span are what the character comes from
        assert char in unicodedata.normalize("NFC", text[start:end])


def test_every_character_is_composed_as_unicode_defines_it():
    for code in range(0x110000):
        if unicodedata.decomposition(chr(code)) or 0xAC00 <= code <= 0xD7A3:
            for form in forms(chr(code)):
                aligned = AlignedText(f"{form}x")
                compose(aligned)
                assert aligned.text == unicodedata.normalize("NFC", form) + "x"


def test_a_long_run_of_marks_takes_linear_time():
    """CPython's normalization takes quadratic time: 12 s for an eighth of this text."""
    text = "a" + "\u0301\u0323" * 500_000
    started = time.process_time()
    aligned = AlignedText(text)
    compose(aligned)
    assert time.process_time() - started < 30
    assert aligned.text == "\u1ea1" + "\u0323" * 499_999 + "\u0301" * 500_000


# Segmenters cut these words at their marks: Hindi nukta, Myanmar asat, Ainu in Kana, Yoruba, keycap emoji.
CUT_AT_MARKS = [
    "\u092b\u093c\u093f\u0932\u094d\u092e",
    "\u1019\u103c\u1014\u103a\u1019\u102c",
    "\u304b\u309a\u304d\u309a",
    "\u1eb9\u0300",
    "1\ufe0f\u20e3",
]


def test_spans_do_not_separate_characters_from_their_marks(run_rows, corpus, checkpoints):
    texts = [unicodedata.normalize("NFD", row["text"]) for row in corpus if row["lang"] in ("fr", "vi", "el", "hi")]
    texts += [unicodedata.normalize("NFD", text) for text in (*TEXTS, " ".join(CUT_AT_MARKS))]
    rows = [
        {"id": f"{lang} {i}", "lang": lang, "question": "Qui ?", "text": text}
        for lang in ("fr", "ja")
        for i, text in enumerate(texts)
    ]
    heads = checkpoints / "heads"
    tags = [{"token-classification": {"head": str(heads / "tags"), "aggregate": how}} for how in ("word", "entity")]
    limits = {"top_k": 20, "max_answer_tokens": 3}
    answers = [
        {"question-answering": {"head": str(heads / head), "prefix": f"{head}_", **limits}}
        for head in ("spans", "beams")
    ]
    labelled = run_rows(rows, tags, tokenizer={"ja": "fugashi"})
    answered = run_rows(rows, answers, ["question", "text"], tokenizer={"ja": "fugashi"})
    num_spans = {"words": 0, "entities": 0, "spans_answers": 0, "beams_answers": 0}
    for row in rows:
        text, result = row["text"], labelled[row["id"]] | answered[row["id"]]
        for column in num_spans:
            num_spans[column] += len(result[column])
            for span in result[column]:
                assert text[span["start"] : span["end"]] == span["text"]
                assert not is_attached(text, span["start"])
                assert not is_attached(text, span["end"])
    assert min(num_spans.values()) > 50
