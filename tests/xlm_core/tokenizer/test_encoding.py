"""Rows as sequences: windows over long texts, truncation, and the counts of a row."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xlm_core import XLMTokenizer

texts = st.lists(
    st.sampled_from(["Haus", "baut", "ein", "großes", "Σπίτι", "qxzj", "…", "3.5", "un", "😀"]), max_size=40
)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint)


def rows_of(encoding, text=-1):
    """Group the tokens (id, start, end, word id) of one text per row and sequence."""
    table = np.column_stack([encoding.input_ids, encoding.offsets, encoding.word_ids]).tolist()
    rows = {}
    for s, row in enumerate(encoding.row_ids.tolist()):
        sequence = table[encoding.cu_seqlens[s] : encoding.cu_seqlens[s + 1]]
        special = [i for i, token in enumerate(sequence) if token[3] == -1]
        parts = [sequence[a + 1 : b] for a, b in pairwise(special)]
        assert (special[0], special[-1]) == (0, len(sequence) - 1)
        rows.setdefault(row, []).append(parts[text])
    return rows


@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=4), capacity=st.integers(1, 30), data=st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("pairs", [False, True])
def test_windows_contain_every_token(tokenizer, pairs, rows, capacity, data):
    """Windows are full and in order, overlap by `overlap` tokens, and all contain the first text of a pair."""
    overlap = data.draw(st.integers(0, capacity - 1))
    max_length = capacity + (3 if pairs else 2)
    first = [" ".join(row[0]) for row in rows]
    second = [" ".join(row[1]) for row in rows] if pairs else None
    langs = ["de"] * len(rows)
    whole = tokenizer.encode_batch(first, langs, second)
    encoding = tokenizer.encode_batch(first, langs, second, max_length, overlap=overlap)
    lengths = np.diff(encoding.cu_seqlens)

    assert lengths.max() <= max_length
    assert (np.diff(encoding.row_ids) >= 0).all()
    assert set(encoding.row_ids.tolist()) == set(range(len(rows)))
    assert encoding.num_tokens.tolist() == np.diff(whole.cu_seqlens).tolist()
    contexts, texts = rows_of(whole, 0), rows_of(whole)
    for row, windows in rows_of(encoding).items():
        (text,) = texts[row]
        starts = encoding.window_starts[encoding.row_ids == row].tolist()
        if encoding.num_truncated[row]:
            assert pairs
            assert max_length - 3 - len(contexts[row][0]) <= overlap
            assert len(windows) == 1
            assert starts == [0]
            continue
        assert [text[start : start + len(window)] for start, window in zip(starts, windows, strict=True)] == windows
        assert starts[0] == 0
        assert starts[-1] + len(windows[-1]) == len(text)
        for i in range(1, len(starts)):
            assert starts[i - 1] + len(windows[i - 1]) - starts[i] == overlap
            assert len(windows[i]) > overlap
        assert (lengths[encoding.row_ids == row][:-1] == max_length).all()
        if pairs:
            assert all(context == contexts[row][0] for context in rows_of(encoding, 0)[row])


@given(row=st.tuples(texts, texts), max_length=st.integers(4, 40))
@settings(max_examples=100, deadline=None)
def test_rows_within_max_length_do_not_depend_on_windows(tokenizer, row, max_length):
    pair = [[" ".join(text)] for text in row]
    plain = tokenizer.encode_batch(pair[0], ["de"], pair[1], max_length)
    assume(plain.num_truncated[0] == 0)
    windows = tokenizer.encode_batch(pair[0], ["de"], pair[1], max_length, overlap=0)
    for name in ("input_ids", "cu_seqlens", "offsets", "word_ids", "row_ids", "window_starts", "num_truncated"):
        assert getattr(windows, name).tolist() == getattr(plain, name).tolist()


def test_a_question_without_room_for_windows_is_truncated_and_counted(tokenizer):
    question, context = " ".join(["Haus"] * 20), " ".join(["un"] * 20)
    encoding = tokenizer.encode_batch([question, "Haus"], ["de"] * 2, [context, context], 12, overlap=4)
    assert encoding.num_truncated.tolist() == [encoding.num_tokens[0] - 12, 0]
    assert encoding.row_ids.tolist() == [0, *[1] * (len(encoding) - 1)]
    assert len(encoding) > 3


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_overlap_must_leave_room_for_new_tokens(tokenizer, overlap):
    with pytest.raises(ValueError, match=f"overlap: got {overlap}, expected 0 to 7"):
        tokenizer.encode_batch(["Haus"], ["de"], max_length=10, overlap=overlap)


def test_counts_describe_the_row_before_truncation(tokenizer):
    text = "Haus 😀 baut 😀"
    unknown = tokenizer.encode_batch([text, "Haus", ""], ["de"] * 3).input_ids == tokenizer.unk_token_id
    assert unknown.sum() == 2
    for settings_ in ({}, {"max_length": 3}, {"max_length": 4, "overlap": 1}):
        encoding = tokenizer.encode_batch([text, "Haus", ""], ["de"] * 3, **settings_)
        assert encoding.num_unknown.tolist() == [2, 0, 0]
        assert encoding.num_tokens[2] == 2
        assert (encoding.num_tokens >= encoding.num_truncated).all()
        assert encoding.num_unknown.dtype == encoding.num_tokens.dtype == encoding.row_ids.dtype == np.int32
    assert len(tokenizer.encode_batch([text], ["de"], max_length=4, overlap=1)) > 1


def test_an_empty_batch_gives_empty_arrays(tokenizer):
    encoding = tokenizer.encode_batch([], [])
    assert len(encoding) == 0
    assert encoding.cu_seqlens.tolist() == [0]
    assert encoding.offsets.shape == (0, 2)


def test_everything_but_offsets_is_the_same_without_them(tokenizer):
    rows = [["Das ist ein großes Haus.", "Haus"], ["Haus " * 20, "un…"]]
    for overlap in (None, 2):
        full, without = (
            tokenizer.encode_batch(rows[0], ["de"] * 2, rows[1], 16, overlap=overlap, with_offsets=with_offsets)
            for with_offsets in (True, False)
        )
        assert without.offsets.shape == (0, 2)
        for name in ("input_ids", "cu_seqlens", "word_ids", "row_ids", "window_starts", "num_truncated", "num_unknown"):
            assert getattr(without, name).tolist() == getattr(full, name).tolist()
