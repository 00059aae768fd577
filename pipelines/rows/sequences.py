"""The token sequences of a shard's rows, concatenated: one per row, or one per window or choice of a row.

Shapes: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.rows.list_columns import flatten_list_column
from pipelines.rows.schemas import INPUT_IDS, LANG, LENGTHS, OFFSETS, WINDOW_STARTS, WORD_IDS
from xlm_core.decoding import tokens_from_first_window, tokens_with_most_context
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sequences:
    """The tokenized rows of a shard, as the model and the tasks use them.

    Attributes:
        rows: the rows, with the columns that the tokenize stage passes on.
        input_ids: int32 [T].
        cu_seqlens: int32 [S + 1].
        langs: int32 [S], language ids; -1 for none.
        row_offsets: int32 [N + 1], the first sequence of each row.
    """

    rows: pa.RecordBatch
    input_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    langs: NDArray[np.int32]
    row_offsets: NDArray[np.int32]

    @classmethod
    def from_rows(cls, rows: pa.RecordBatch) -> Sequences:
        """Build a view of tokenized rows; token columns are not copied."""
        input_ids, _ = flatten_list_column(rows.column(INPUT_IDS))
        lengths, row_offsets = flatten_list_column(rows.column(LENGTHS))
        langs = np.repeat(rows.column(LANG).to_numpy(), np.diff(row_offsets))
        return cls(rows, input_ids, cumulative_lengths(lengths), langs, row_offsets)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Number of tokens of each sequence, [S]."""
        return np.diff(self.cu_seqlens)

    @cached_property
    def row_ids(self) -> NDArray[np.int32]:
        """The row of each sequence, [S]."""
        return np.repeat(np.arange(len(self.rows), dtype=np.int32), np.diff(self.row_offsets))

    @cached_property
    def row_of_token(self) -> NDArray[np.int32]:
        """The row of each token, [T]."""
        return np.repeat(self.row_ids, self.lengths)

    @cached_property
    def word_ids(self) -> NDArray[np.int32]:
        """The word of each token in its text, [T]; -1 for special tokens. Requires a task that needs offsets."""
        return flatten_list_column(self.rows.column(WORD_IDS))[0]

    @cached_property
    def offsets(self) -> NDArray[np.int32]:
        """Start and end (exclusive) of each token in its text, [T, 2]. Requires a task that needs offsets."""
        return flatten_list_column(self.rows.column(OFFSETS))[0].reshape(-1, 2)

    @cached_property
    def window_starts(self) -> NDArray[np.int32]:
        """For each sequence, the position of its first token within the whole last text of the row, [S]."""
        return flatten_list_column(self.rows.column(WINDOW_STARTS))[0]

    def select_tokens(self, text: Literal["first", "last"], *, causal: bool = False) -> NDArray[np.int64]:
        """Select each token of a text once: of several copies in overlapping windows, the one with the most context.

        Args:
            text: which of the row's texts.
            causal: whether a token's context is only the tokens before it.

        Returns:
            [K], indices of tokens [T], ordered by row and position in the text, without special tokens.
        """
        choose = tokens_from_first_window if causal else tokens_with_most_context
        return choose(self.word_ids, self.cu_seqlens, self.row_ids, self.window_starts, text)

    def mean_over_windows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Average the values of each row's sequences, weighted by their numbers of tokens: [S, C] to [N, C].

        The values of a row with one sequence are returned bit for bit.
        """
        if len(values) == len(self.rows):
            return values
        weights = self.lengths.astype(np.float64)[:, None]
        first = self.row_offsets[:-1]
        summed = np.add.reduceat(values * weights, first) / np.add.reduceat(weights, first)
        is_single = np.diff(self.row_offsets) == 1
        return np.where(is_single[:, None], values[first], summed.astype(values.dtype))
