"""Input that is segmented already: lists of words, texts that bypass the segmenters, and mask markers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlm_core import XLMTokenizer

LANGS = ["en", "de", "tr", "ro", "zh", "th", "ja", None]
MARKER = "<mask>"

words = st.lists(
    st.one_of(
        st.sampled_from(
            ["", " ", "L'eau", "3.5%", "Mr.", "New York", "我们去", "ภาษา", "東京", "İ", "\u0301", "…", "x\ty"]
        ),
        st.text(max_size=6),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint, ja="fugashi")


@given(words=words, lang=st.sampled_from(LANGS), bypass=st.booleans())
@settings(max_examples=150, deadline=None)
def test_each_word_of_a_list_is_encoded_alone(tokenizer, words, lang, bypass):
    encoding = tokenizer.encode_batch([words], [lang], bypass_tokenizer=bypass)
    ids, offsets = encoding.input_ids[1:-1], encoding.offsets[1:-1]
    begin = 0
    for number, word in enumerate(words):
        alone = tokenizer.encode_batch([word], [lang], bypass_tokenizer=bypass)
        here = encoding.word_ids[1:-1] == number
        assert ids[here].tolist() == alone.input_ids[1:-1].tolist()
        assert offsets[here].tolist() == (alone.offsets[1:-1] + begin).tolist()
        begin += len(word) + 1
    assert (np.diff(encoding.word_ids[1:-1]) >= 0).all()
    assert set(encoding.word_ids.tolist()) <= {-1, *range(len(words))}


def test_a_batch_can_mix_lists_of_words_and_strings(tokenizer):
    encoding = tokenizer.encode_batch([["New York", "", "!"], "New York !"], ["en"] * 2, [("is",), "is"])
    listed, written = (encoding.cu_seqlens[i : i + 2] for i in range(2))
    assert encoding.input_ids[slice(*listed)].tolist() == encoding.input_ids[slice(*written)].tolist()
    # word ids of the second text begin at 0 again
    assert [k for k in encoding.word_ids[slice(*listed)].tolist() if k > 0] == [2]


def test_bypass_splits_at_white_space_only(tokenizer):
    text = "L'eau  n'est\u3000PAS …"
    encoding = tokenizer.encode_batch([text], ["fr"], bypass_tokenizer=True)
    spans = [(here[0, 0], here[-1, 1]) for word in range(4) for here in [encoding.offsets[encoding.word_ids == word]]]
    assert [text[start:end] for start, end in spans] == text.split()
    assert tokenizer.convert_ids_to_tokens(encoding.input_ids[1:-1]) != tokenizer.tokenize(text, "fr")


sentences = st.lists(
    st.sampled_from(["我们今天去北京大学。", "ภาษาไทยง่าย", "東京へ行く。", "Wie geht's?", " ", "…x", "<special1>"]),
    max_size=4,
)


@given(
    parts=st.lists(sentences.map("".join), min_size=2, max_size=4), lang=st.sampled_from(LANGS), bypass=st.booleans()
)
@settings(max_examples=100, deadline=None)
def test_a_marker_becomes_the_mask_and_splits_the_text(tokenizer, parts, lang, bypass):
    text = MARKER.join(parts)
    encoding = tokenizer.encode_batch([text], [lang], mask_marker=MARKER, bypass_tokenizer=bypass)
    masks = np.flatnonzero(encoding.input_ids == tokenizer.mask_token_id)
    assert len(masks) == len(parts) - 1
    assert [text[start:end] for start, end in encoding.offsets[masks]] == [MARKER] * len(masks)
    assert all((encoding.word_ids == encoding.word_ids[mask]).sum() == 1 for mask in masks)
    assert (np.diff(encoding.word_ids[1:-1]) >= 0).all()
    between = np.split(encoding.input_ids[1:-1], masks - 1)
    for part, found, skipped in zip(parts, between, [0, *[1] * len(masks)], strict=True):
        alone = tokenizer.encode_batch([part], [lang], bypass_tokenizer=bypass)
        assert found[skipped:].tolist() == alone.input_ids[1:-1].tolist()


def test_a_marker_in_a_list_of_words_becomes_the_mask(tokenizer):
    encoding = tokenizer.encode_batch([["Paris", MARKER, f"({MARKER})"]], ["en"], mask_marker=MARKER)
    masks = encoding.input_ids == tokenizer.mask_token_id
    assert encoding.word_ids[masks].tolist() == [1, 2]
    assert encoding.offsets[masks].tolist() == [[6, 12], [14, 20]]


def test_without_a_marker_no_text_produces_a_mask(tokenizer):
    for lang in LANGS:
        ids = tokenizer.encode_batch([f"a {MARKER} <special1>"], [lang], mask_marker="[MASK]").input_ids
        assert tokenizer.mask_token_id not in ids
    with pytest.raises(ValueError, match="mask_marker is empty"):
        tokenizer.encode_batch(["a"], ["en"], mask_marker="")
