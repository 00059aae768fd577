"""Add up the counts of words over a corpus, in bounded memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

MAX_WORDS = 4_000_000


class WordTotals:
    """The counts of words by language.

    The counts are exact up to `max_words` different words, the same word in two languages counted twice. When there are
    more, the language with the most words loses the rarer half of its words, and so on. What is kept then depends on
    the order of the corpus.

    Args:
        max_words: the limit.

    Attributes:
        langs: the counts.
        num_forgotten: how many words were forgotten, some of them several times.
    """

    def __init__(self, max_words: int = MAX_WORDS):
        self._max_words = max_words
        self.langs: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
        self.num_forgotten = 0

    def add(self, counts: pa.RecordBatch) -> None:
        """Add counts with the columns `lang`, `word` and `count`."""
        columns = (counts.column(name).to_pylist() for name in ("lang", "word", "count"))
        for lang, word, count in zip(*columns, strict=True):
            self.langs[lang][word] += count
        while sum(map(len, self.langs.values())) > self._max_words:
            self._forget_rare()

    def _forget_rare(self) -> None:
        lang = max(self.langs, key=lambda lang: len(self.langs[lang]))
        words = self.langs[lang]
        counts = np.fromiter(words.values(), np.int64, len(words))
        middle = int(np.partition(counts, (len(counts) - 1) // 2)[(len(counts) - 1) // 2])
        self.langs[lang] = Counter({word: count for word, count in words.items() if count > middle})
        self.num_forgotten += len(words) - len(self.langs[lang])
