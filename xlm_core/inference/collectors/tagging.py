"""A label for each word, or labelled entities of several words.

Letters: T tokens, W words, C labels, K spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.decoding import (
    aggregate_scores,
    attach_marks,
    drop_blank_words,
    find_entities,
    join_subwords,
)
from xlm_core.inference.heads import head_labels
from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding import Aggregation, LabelScheme, Sequences, WordSpans
    from xlm_core.heads import TokenClassificationHead
    from xlm_core.inference.model import Pass


class LabelledSpans(NamedTuple):
    """Labelled words or entities, by row and position.

    Attributes:
        row: int64 [K], in ascending order.
        start, end: int64 [K], characters of the row's text, end exclusive.
        label: str [K], as objects; None for a given word without a label.
        score: float32 [K]; NaN for a given word without a label.
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    label: NDArray[np.object_]
    score: NDArray[np.float32]


def find_words(sequences: Sequences, texts: Sequence[str]) -> tuple[NDArray[np.int64], WordSpans]:
    """Find the words of the first text of each row, and their tokens.

    Args:
        sequences: of all rows, with word ids and offsets.
        texts: of each row; words joined by spaces, if the text is given as words.

    Returns:
        int64 [K], the indices of tokens, and the words, which refer to these tokens.
    """
    tokens = sequences.select_tokens("first")
    offsets = attach_marks(sequences.offsets, tokens, sequences.row_of_token[tokens], texts)
    return tokens, join_subwords(tokens, sequences.word_ids, offsets, sequences.cu_seqlens, sequences.row_ids)


class TaggingCollector(Collector[LabelledSpans]):
    """Collects the scores of tokens, and labels the words of each row; of a pair, those of the first text.

    Args:
        sequences: of all rows, with word ids and offsets.
        head: the head.
        texts: the first text of each row, or its words. Offsets are those of the words joined by spaces.
        pieces: how a word of several subwords gets its scores.
        scheme: joins words to entities; None labels words.
        keep_given_words: for texts that are words, without a scheme: return an item for each word, in order. The label
            is None for words without tokens and for words that were cut off.
    """

    def __init__(
        self,
        sequences: Sequences,
        head: TokenClassificationHead,
        texts: Sequence[str | Sequence[str]],
        *,
        pieces: Aggregation,
        scheme: LabelScheme | None,
        keep_given_words: bool,
    ):
        self._sequences, self._head, self._texts = sequences, head, texts
        self._scheme, self._keep_given_words = scheme, keep_given_words
        self._pieces: Aggregation = pieces
        self._scores_TC = np.empty((len(sequences.input_ids), head.config.num_labels), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        logits_TC = self._head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        logits_TC = logits_TC.float() / self._head.config.score_temperature
        return [Write(self._scores_TC, step.tokens, logits_TC.softmax(-1))]

    def result(self) -> LabelledSpans:
        """See `Collector`."""
        texts = [text if isinstance(text, str) else " ".join(text) for text in self._texts]
        tokens, words = find_words(self._sequences, texts)
        if not self._keep_given_words:
            words = drop_blank_words(words, texts)
        scores_WC = aggregate_scores(self._scores_TC, tokens, words, self._pieces)
        best = scores_WC.argmax(1)
        score = scores_WC[np.arange(len(best)), best]
        label = np.array(head_labels(self._head.config), object)[best]
        if self._keep_given_words:
            return self._label_given_words(words, label, score)
        if self._scheme is None:
            return LabelledSpans(words.row, words.start, words.end, label, score)
        entities = find_entities(best, score, words.row, self._scheme)
        types = np.array(self._scheme.types, object)[entities.type]
        row, start, end = words.row[entities.first], words.start[entities.first], words.end[entities.last]
        return LabelledSpans(row, start, end, types, entities.score)

    def _label_given_words(
        self, words: WordSpans, label: NDArray[np.object_], score: NDArray[np.float32]
    ) -> LabelledSpans:
        """Return an item for each given word, including words without a label."""
        counts = np.array([0 if isinstance(text, str) else len(text) for text in self._texts], np.int64)
        first_word = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(counts)), counts)
        lengths = np.array([len(word) for text in self._texts if not isinstance(text, str) for word in text], np.int64)
        ends = np.cumsum(lengths + 1)  # each word is followed by a space
        row_start = np.append(0, ends)[first_word[row]]
        end = ends - 1 - row_start
        all_labels, all_scores = np.full(len(row), None, object), np.full(len(row), np.nan, np.float32)
        number = first_word[words.row] + words.number
        all_labels[number], all_scores[number] = label, score
        return LabelledSpans(row, end - lengths, end, all_labels, all_scores)
