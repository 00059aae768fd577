"""The token sequences of a batch of rows, concatenated: one per row, or one per window or choice of a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xlm_core.decoding.windows import tokens_from_first_window, tokens_with_most_context
from xlm_core.ragged import cumulative_lengths, ragged_positions

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding.windows import TextOfPair


@dataclass(frozen=True)
class Sequences:
    """The tokens of N rows, as the model and the decoding of its output use them.

    Attributes:
        input_ids: int32 [T].
        cu_seqlens: int32 [S + 1].
        langs: int32 [S], language ids; -1 for none.
        row_offsets: int32 [N + 1], the first sequence of each row. Every row has a sequence.
        window_starts: int32 [S], the position of each sequence's first token within the whole last text of the row.
        word_ids: int32 [T], the word of each token in its text; -1 for special tokens. Empty if nothing reads it.
        offsets: int32 [T, 2], start and end (exclusive) of each token in its text. Empty if nothing reads it.
    """

    input_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    langs: NDArray[np.int32]
    row_offsets: NDArray[np.int32]
    window_starts: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    offsets: NDArray[np.int32]

    @property
    def num_rows(self) -> int:
        """Number of rows, N."""
        return len(self.row_offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Number of tokens of each sequence, [S]."""
        return np.diff(self.cu_seqlens)

    @cached_property
    def row_ids(self) -> NDArray[np.int32]:
        """The row of each sequence, [S]."""
        return np.repeat(np.arange(self.num_rows, dtype=np.int32), np.diff(self.row_offsets))

    @cached_property
    def row_of_token(self) -> NDArray[np.int32]:
        """The row of each token, [T]."""
        return np.repeat(self.row_ids, self.lengths)

    def take(self, rows: NDArray[np.int64]) -> Sequences:
        """Return the rows that the index selects, in its order."""
        sequences = ragged_positions(self.row_offsets, rows)
        tokens = ragged_positions(self.cu_seqlens, sequences)
        return Sequences(
            self.input_ids[tokens],
            cumulative_lengths(self.lengths[sequences]),
            self.langs[sequences],
            cumulative_lengths(np.diff(self.row_offsets)[rows]),
            self.window_starts[sequences],
            self.word_ids[tokens] if len(self.word_ids) else self.word_ids,
            self.offsets[tokens] if len(self.offsets) else self.offsets,
        )

    def select_tokens(self, text: TextOfPair, *, causal: bool = False) -> NDArray[np.int64]:
        """Select each token of a text once: of several copies in overlapping windows, the one with the most context.

        Args:
            text: which of the row's texts.
            causal: whether a token's context is only the tokens before it.

        Returns:
            [K], indices of tokens [T], ordered by row and position in the text, without special tokens.
        """
        choose = tokens_from_first_window if causal else tokens_with_most_context
        return choose(self.word_ids, self.cu_seqlens, self.row_ids, self.window_starts, text)

    def mark_text_tokens(self, *, causal: bool = False) -> NDArray[np.bool_]:
        """Mark the tokens of all texts: bool [T]. A token that is in several windows is marked in one of them.

        Args:
            causal: whether the model sees only the tokens before each token; decides which window has more context.
        """
        is_text = np.zeros(len(self.input_ids), np.bool_)
        for text in ("first", "last"):
            is_text[self.select_tokens(text, causal=causal)] = True
        return is_text

    def mean_over_windows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Average the values of each row's sequences, weighted by their numbers of tokens: [S, C] to [N, C].

        The values of a row with one sequence are returned bit for bit.
        """
        if len(values) == self.num_rows:
            return values
        weights = self.lengths.astype(np.float64)[:, None]
        first = self.row_offsets[:-1]
        summed = np.add.reduceat(values * weights, first) / np.add.reduceat(weights, first)
        is_single = np.diff(self.row_offsets) == 1
        return np.where(is_single[:, None], values[first], summed.astype(values.dtype))


class DistinctRows(NamedTuple):
    """Which rows are distinct, and which are identical to an earlier one.

    Attributes:
        rows: int64 [U], the first of each set of identical rows, in order.
        source: int64 [N], for each row, the index in `rows` of the row that it is identical to.
    """

    rows: NDArray[np.int64]
    source: NDArray[np.int64]


def find_distinct_rows(sequences: Sequences, quoted: Sequence[Sequence[Hashable]]) -> DistinctRows | None:
    """Compare rows by everything that a result depends on: tokens, language, and texts that results quote.

    Args:
        sequences: of N rows.
        quoted: N texts each, that results quote.

    Returns:
        None if all rows are distinct.
    """
    token_offsets = sequences.cu_seqlens[sequences.row_offsets]
    keys = [
        _row_bytes(sequences.input_ids, token_offsets),
        _row_bytes(sequences.lengths, sequences.row_offsets),
        _row_bytes(sequences.window_starts, sequences.row_offsets),
        _row_bytes(sequences.langs, sequences.row_offsets),
    ]
    keys += [_row_bytes(values, token_offsets) for values in (sequences.offsets, sequences.word_ids) if len(values)]
    indices: dict[tuple[Hashable, ...], int] = {}
    source = np.empty(sequences.num_rows, np.int64)
    distinct: list[int] = []
    for i, key in enumerate(zip(*keys, *quoted, strict=True)):
        index = indices.setdefault(key, len(distinct))
        if index == len(distinct):
            distinct.append(i)
        source[i] = index
    return None if len(distinct) == sequences.num_rows else DistinctRows(np.array(distinct), source)


def _row_bytes(values: NDArray[np.int32], row_offsets: NDArray[np.int32]) -> list[bytes]:
    """Return the bytes of each row's values: [T] or [T, 2], from one of [N + 1] offsets to before the next."""
    size = values.itemsize * (values.size // len(values)) if len(values) else 0
    content, byte_offsets = values.tobytes(), (row_offsets.astype(np.int64) * size).tolist()
    return [content[start:end] for start, end in pairwise(byte_offsets)]
