"""A tokenizer that several threads use, or that an interrupt has stopped, gives the same ids as any other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from xlm_core import XLMTokenizer
from xlm_core.text.chunk_table import ChunkTable

LANGS, THREADS, CALLS = ["de", "en", "el"], 4, 30
MEETS_WITHIN_S = 60


def texts_of_call(number: int) -> list[str]:
    """Return three texts with words and chunks that no other call has."""
    return [f"Haus{number}x baut ({word}{number}) un 3.{number} ein, großes…" for word in ("a", "b", "c")]


def encode(tokenizer: XLMTokenizer, number: int) -> tuple[list[int], list[list[int]]]:
    encoding = tokenizer.encode_batch(texts_of_call(number), LANGS)
    return encoding.input_ids.tolist(), encoding.offsets.tolist()


def test_threads_that_share_a_tokenizer_get_the_ids_of_their_own_texts(checkpoint):
    shared, alone = (XLMTokenizer.from_pretrained(checkpoint) for _ in range(2))
    all_started = threading.Barrier(THREADS)

    def run(thread: int) -> list[tuple[list[int], list[list[int]]]]:
        all_started.wait(MEETS_WITHIN_S)
        return [encode(shared, number) for number in range(thread, CALLS * THREADS, THREADS)]

    with ThreadPoolExecutor(THREADS) as executor:
        found = list(executor.map(run, range(THREADS)))
    expected = [[encode(alone, number) for number in range(i, CALLS * THREADS, THREADS)] for i in range(THREADS)]
    assert found == expected


def test_tokenizer_is_right_after_an_interrupt_while_it_added_words(checkpoint, monkeypatch):
    tokenizer, other = (XLMTokenizer.from_pretrained(checkpoint) for _ in range(2))
    encode(tokenizer, 0)
    store = ChunkTable._store

    def interrupted(*args, **options):
        store(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ChunkTable, "_store", interrupted)
        with pytest.raises(KeyboardInterrupt):
            encode(tokenizer, 1)
    for number in range(3):
        assert encode(tokenizer, number) == encode(other, number)
