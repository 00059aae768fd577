"""Find the words of many texts at once, as numbers in an array."""

from __future__ import annotations

from array import array
from collections import defaultdict
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from xlm_core.ragged import cumulative_lengths, take_ragged
from xlm_core.text.chunk_table import EMPTY_CHUNK, MAX_CHUNK_CHARS, ChunkTable
from xlm_core.text.chunks import ChunkRules, Shapes
from xlm_core.text.in_place import TextsInPlace, join_words
from xlm_core.text.normalize import CONTROL_WHITESPACE
from xlm_core.text.segment import SEGMENTED_LANGS
from xlm_core.text.words import Words, locate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from xlm_core.text.segment import Segmenters
    from xlm_core.text.words import Word


_MAX_REMEMBERED_TEXTS, _MAX_REMEMBERED_CHARS = 4_000, 100
_MAX_CHARS_IN_PLACE = 1 << 16  # located at once; takes about 60 bytes a character


class _LangChunks(defaultdict[str, int]):
    """The numbers of the chunks of one language; a look-up numbers those that are missing.

    Attributes:
        rules: of the language.
    """

    def __init__(self, rules: ChunkRules, numbers: Iterator[int]):
        super().__init__(numbers.__next__, {"": EMPTY_CHUNK})
        self.rules = rules
        self._num_known = len(self)

    def take_new(self) -> dict[str, int]:
        """Return the chunks that were numbered since the last call, in order. Long ones are forgotten."""
        new = dict([*islice(reversed(self.items()), len(self) - self._num_known)][::-1])
        for chunk in new:
            if len(chunk) > MAX_CHUNK_CHARS:
                del self[chunk]
        self._num_known = len(self)
        return new


class WordFinder:
    """Finds the words of texts, and remembers those of chunks between spaces.

    Args:
        segmenters: split texts into words.
        number_word: returns the number of a word.
        is_segmented: texts are already segmented, see `Segmenters.split`.
    """

    def __init__(self, segmenters: Segmenters, number_word: Callable[[Word], int], *, is_segmented: bool = False):
        self._segmenters, self._number_word, self._is_segmented = segmenters, number_word, is_segmented
        self._segment = segmenters.split if is_segmented else segmenters.segment
        self._chunks: dict[str | None, _LangChunks] = {}
        self._shapes: dict[Hashable, Shapes] = {}
        self._table = ChunkTable(number_word)
        # Of a multiple-choice question, the first text repeats; words that are given in lists repeat, too.
        self._remembered = lru_cache(_MAX_REMEMBERED_TEXTS)(self._locate_whole)
        self._remembered_cuts = lru_cache(_MAX_REMEMBERED_TEXTS)(self._cut_text)

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory that chunks take."""
        return self._table.size_bytes + sum(shapes.size_bytes for shapes in self._shapes.values())

    def clear(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()
        self._shapes.clear()
        self._table = ChunkTable(self._number_word)
        self._remembered.cache_clear()
        self._remembered_cuts.cache_clear()

    def find(
        self, texts: Sequence[str | int], langs: Sequence[str | None], on_text: Callable[[], None] | None = None
    ) -> Words:
        """Find the words of N texts.

        Args:
            texts: strings; or the number of a word, which is then the only word of its text.
            langs: their languages, see `Segmenters.segment`.
            on_text: called after each text.
        """
        chunks, sizes, chunked = array("i"), list[int](), list[int]()
        whole, changed = _WholeTexts(), list[int]()
        in_place = self._prepare_in_place(texts, langs)
        for i, (text, lang) in enumerate(zip(texts, langs, strict=True)):
            group = in_place.get(lang)
            if not isinstance(text, str):
                whole.add(i, array("i", [text]), array("i", [0]))
            elif group is not None and (plain := group.plain.get(i)):
                group.add(i, self._cut(plain, cast("str", lang)))
                if group.num_chars > _MAX_CHARS_IN_PLACE:
                    changed += self._locate_in_place(group, whole)
            elif (parts := self._split_at_spaces(text, lang)) is not None:
                chunks.extend(map(self._chunks_of(lang).__getitem__, parts))
                sizes.append(len(parts))
                chunked.append(i)
            else:
                whole.add(i, *self._find_whole(text, lang))
            if on_text is not None:
                on_text()
        for group in in_place.values():
            changed += self._locate_in_place(group, whole)
        self._add_new_chunks()
        found, unsafe = self._table.find_words(chunks, sizes)
        for i in (*changed, *(chunked[k] for k in unsafe.tolist())):
            whole.add(i, *self._find_whole(cast("str", texts[i]), langs[i]))
        return whole.merge(found, chunked, len(texts)) if whole.texts else found

    def _prepare_in_place(
        self, texts: Sequence[str | int], langs: Sequence[str | None]
    ) -> dict[str | None, TextsInPlace]:
        """Group the texts of languages with a segmenter."""
        groups: dict[str, dict[int, str]] = {}
        if not self._is_segmented and not SEGMENTED_LANGS.isdisjoint(langs):
            for i, (text, lang) in enumerate(zip(texts, langs, strict=True)):
                if lang in SEGMENTED_LANGS and isinstance(text, str):
                    if not text.isprintable() and self._segmenters.compat == "default":
                        text = text.translate(CONTROL_WHITESPACE)
                    groups.setdefault(lang, {})[i] = text
        return {lang: TextsInPlace(lang, group) for lang, group in groups.items()}

    def _locate_in_place(self, group: TextsInPlace, whole: _WholeTexts) -> list[int]:
        """Add the words of texts that were segmented; return the texts whose words are not valid."""
        found = group.locate()
        numbers = np.fromiter(map(self._number_word, found.words), np.int32, len(found.words))
        whole.add_many(found.texts, numbers, found.starts, found.sizes)
        return found.changed

    def _cut(self, text: str, lang: str) -> str:
        """Return the words of a text by the segmenter alone, joined."""
        return (self._cut_text if len(text) > _MAX_REMEMBERED_CHARS else self._remembered_cuts)(text, lang)

    def _cut_text(self, text: str, lang: str) -> str:
        return join_words(self._segmenters.cut(text, lang), lang)

    def _split_at_spaces(self, text: str, lang: str | None) -> list[str] | None:
        """Return the chunks of a text, or None if it has to be segmented as a whole."""
        if self._is_segmented or lang in SEGMENTED_LANGS:
            return None
        if not text.isprintable():
            if self._segmenters.compat == "reference":
                return None
            text = text.translate(CONTROL_WHITESPACE)
        return text.split(" ")

    def _chunks_of(self, lang: str | None) -> _LangChunks:
        if lang not in self._chunks:
            self._chunks[lang] = _LangChunks(ChunkRules(lang, self._segment, self._shapes), self._table.next_numbers)
        return self._chunks[lang]

    def _add_new_chunks(self) -> None:
        new = [(chunks.rules, chunks.take_new()) for chunks in self._chunks.values()]
        self._table.add([(rules, chunks) for rules, chunks in new if chunks])

    def _find_whole(self, text: str, lang: str | None) -> tuple[array[int], array[int]]:
        """Return the number and the start of each word of a text."""
        if len(text) > _MAX_REMEMBERED_CHARS:
            return self._locate_whole(text, lang)
        return self._remembered(text, lang)

    def _locate_whole(self, text: str, lang: str | None) -> tuple[array[int], array[int]]:
        words, starts = locate_words(self._segment(text, lang))
        return array("i", map(self._number_word, words)), array("i", starts)


class _WholeTexts:
    """The words of texts that were segmented as a whole."""

    def __init__(self) -> None:
        self.texts: list[int] = []
        self._sizes: list[int] = []
        self._numbers, self._starts = array("i"), array("i")

    def add(self, text: int, numbers: array[int], starts: array[int]) -> None:
        self.texts.append(text)
        self._sizes.append(len(numbers))
        self._numbers.extend(numbers)
        self._starts.extend(starts)

    def add_many(
        self, texts: Sequence[int], numbers: NDArray[np.int32], starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> None:
        self.texts += texts
        self._sizes += sizes.tolist()
        self._numbers.frombytes(numbers.tobytes())
        self._starts.frombytes(starts.astype(np.int32).tobytes())

    def merge(self, found: Words, found_texts: Sequence[int], num_texts: int) -> Words:
        """Return the words of all texts in their order; those of whole texts replace any that were found otherwise."""
        source_N = np.empty(num_texts, np.int64)
        source_N[found_texts] = np.arange(len(found_texts))
        source_N[self.texts] = np.arange(len(self.texts)) + len(found_texts)
        sizes = np.concatenate([found.sizes, np.array(self._sizes, np.int64)])
        numbers, starts = np.frombuffer(self._numbers, np.int32), np.frombuffer(self._starts, np.int32)
        cu_sizes = cumulative_lengths(sizes)
        numbers, _ = take_ragged(np.concatenate([found.numbers, numbers]), cu_sizes, source_N)
        starts, _ = take_ragged(np.concatenate([found.starts, starts]), cu_sizes, source_N)
        return Words(numbers, starts, sizes[source_N])
