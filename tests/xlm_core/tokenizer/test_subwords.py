"""Words encoded in a batch have the subwords and offsets that each of them has alone."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlm_core import XLMTokenizer
from xlm_core.ragged import NUM_CODES, to_codes, to_text
from xlm_core.text import MovedWord, fold_table, lower_and_strip_accents
from xlm_core.tokenizer import text_encoder
from xlm_core.tokenizer.batch_bpe import BatchBPE
from xlm_core.tokenizer.bpe import END_OF_WORD, split_word
from xlm_core.tokenizer.subwords import WordEncoder

letters = st.text("abc", min_size=1, max_size=3)
merges = st.lists(
    st.tuples(letters, st.one_of(letters, letters.map(lambda text: text + END_OF_WORD), st.just(END_OF_WORD))),
    max_size=40,
)
words = st.lists(st.text(st.sampled_from("aaabbc<é</w>\U0001f35c\ud800"), min_size=1, max_size=30), max_size=8)
batches = st.builds(lambda words, times: words * times, words, st.sampled_from([1, 5, 20]))  # few words, or many


@given(pairs=merges, words=batches, data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_batch_is_split_as_each_of_its_words(pairs, words, data):
    """Use arbitrary merge tables: merges of merges, in any order, and of symbols that are built in several ways."""
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    symbols = [split_word(word, ranks) for word in words]
    known = sorted({symbol for word in symbols for symbol in word})
    vocab = {symbol: i for i, symbol in enumerate(known) if i % 3}
    pieces = BatchBPE(ranks, vocab, unk_id=99).split(*to_codes(words))
    assert pieces.sizes.tolist() == [len(word) for word in symbols]
    assert pieces.ids.tolist() == [vocab.get(symbol, 99) for word in symbols for symbol in word]
    encoder = WordEncoder(vocab, 99, ranks, lowercase=False)
    spans = [span[1:] for word in words for span in encoder.split(word)]
    assert list(zip(pieces.starts.tolist(), pieces.ends.tolist(), strict=True)) == spans


odd_words = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("aİΣσßǅﬁ\u0301\u0323\u0f71 \u0345각ậ\u0903\U0001d165")),
    max_size=12,
)


@given(odd_words)
@settings(max_examples=1000, deadline=None)
def test_folding_is_lowercasing_without_accents(word):
    codes, sizes, is_irregular = fold_table().fold(to_codes([word])[0])
    text, sources = lower_and_strip_accents(word)
    assert is_irregular.any() or (to_text(codes), np.repeat(range(len(word)), sizes).tolist()) == (text, sources)


def test_every_character_folds_as_in_a_word_of_its_own():
    codes, sizes, is_irregular = fold_table().fold(np.arange(NUM_CODES, dtype=np.uint32))
    ends = sizes.cumsum()
    for code in np.flatnonzero(~is_irregular).tolist():
        text, _ = lower_and_strip_accents(f"a{chr(code)}b")
        assert f"a{to_text(codes[ends[code] - sizes[code] : ends[code]])}b" == text
    assert is_irregular.sum() < 200


@pytest.mark.parametrize("lowercase", [True, False])
@given(words=st.lists(odd_words.filter(bool), min_size=60, max_size=80), data=st.data())
@settings(max_examples=20, deadline=None)
def test_words_do_not_depend_on_their_batch(lowercase, words, data):
    """Include words with spaces, words that lose all their characters, long ones, and ones that were normalized."""
    encoder = WordEncoder({c: i for i, c in enumerate("abcdefgh")}, 99, {("a", "b"): 0, ("ab", "c</w>"): 1}, lowercase)
    words += ["abcabc" * 20, "\u0301", MovedWord("abcé", (0, 0, 0, 3), (3, 3, 3, 4), 0)]
    together = encoder.encode(words)
    alone = [encoder.encode([word]) for word in words]
    for name in ("sizes", "ids", "starts", "ends"):
        expected = np.concatenate([getattr(pieces, name) for pieces in alone])
        assert getattr(together, name).tolist() == expected.tolist()


def test_memory_is_bounded_and_results_do_not_depend_on_it(checkpoint, corpus, monkeypatch):
    """With a limit that a few sentences reach, words are forgotten all the time, also within a batch."""
    texts, langs = [row["text"] for row in corpus], [row["lang"] for row in corpus]
    remembering = XLMTokenizer.from_pretrained(checkpoint, ja="fugashi")
    expected = remembering.encode_batch(texts, langs)
    monkeypatch.setattr(text_encoder, "_MAX_MEMORY_BYTES", 200_000)
    monkeypatch.setattr(text_encoder, "_TEXTS_PER_GROUP", 3)
    forgetful = XLMTokenizer.from_pretrained(checkpoint, ja="fugashi")
    found = forgetful.encode_batch(texts, langs)
    for name in ("input_ids", "cu_seqlens", "offsets", "word_ids", "num_unknown"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    encoder = forgetful._encoder
    assert encoder._table.size_bytes + encoder._finder.size_bytes <= 200_000
    assert remembering._encoder._table.size_bytes > 200_000
    again = remembering.encode_batch(texts, langs)
    remembering.clear_memory()
    assert again.input_ids.tolist() == remembering.encode_batch(texts, langs).input_ids.tolist()


def test_estimated_memory_is_what_new_words_take(checkpoint):
    """Encode words that do not repeat, and compare the estimate, on which the limit is based, with the allocations."""
    encoder = XLMTokenizer.from_pretrained(checkpoint)._encoder
    encoder.encode(["warm up"] * 60, ["en"] * 60, {})
    texts = [" ".join(f"word{i}x{k}, Wort{i}y{k}." for k in range(10)) for i in range(2000)]
    before = encoder._table.size_bytes + encoder._finder.size_bytes
    tracemalloc.start()
    tokens = encoder.encode(texts, ["en"] * len(texts), {})
    del tokens, texts
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    estimate = encoder._table.size_bytes + encoder._finder.size_bytes - before
    assert taken / 2 < estimate < taken * 2
