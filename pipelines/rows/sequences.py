"""The token sequences of a shard's rows, laid end to end: one of a row, or one for each of its windows or choices.

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
from xlm_core.model.packing import cumulative_lengths

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sequences:
    """What the model and the tasks see of a shard.

    Attributes:
        rows: the rows, with the columns that the tokenize stage handed on.
        ids: int32 [T].
        cu_seqlens: int32 [S + 1].
        langs: int32 [S], -1 for none.
        borders: int32 [N + 1], the first sequence of each row.
    """

    rows: pa.RecordBatch
    ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    langs: NDArray[np.int32]
    borders: NDArray[np.int32]

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> Sequences:
        """View the columns of tokenized rows; nothing is copied."""
        ids, _ = flatten_list_column(rows.column(INPUT_IDS))
        lengths, borders = flatten_list_column(rows.column(LENGTHS))
        langs = np.repeat(rows.column(LANG).to_numpy(), np.diff(borders))
        return cls(rows, ids, cumulative_lengths(lengths), langs, borders)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each sequence, [S]."""
        return np.diff(self.cu_seqlens)

    @cached_property
    def row_ids(self) -> NDArray[np.int32]:
        """The row of each sequence, [S]."""
        return np.repeat(np.arange(len(self.rows), dtype=np.int32), np.diff(self.borders))

    @cached_property
    def word_ids(self) -> NDArray[np.int32]:
        """The word of each token in its text, [T]; -1 for special tokens. Only where a task needs places."""
        return flatten_list_column(self.rows.column(WORD_IDS))[0]

    @cached_property
    def offsets(self) -> NDArray[np.int32]:
        """First and last (exclusive) character of each token in its text, [T, 2]. Only where a task needs places."""
        return flatten_list_column(self.rows.column(OFFSETS))[0].reshape(-1, 2)

    @cached_property
    def window_starts(self) -> NDArray[np.int32]:
        """Number of each sequence's first token of the row's last text in that whole text, [S]."""
        return flatten_list_column(self.rows.column(WINDOW_STARTS))[0]

    def once(self, text: Literal["first", "last"], *, causal: bool = False) -> NDArray[np.int64]:
        """Choose each token of a text once, where windows overlap that with more of the context that the model sees.

        Returns:
            [K], numbers of tokens [T] by row and place in the text; special tokens never.
        """
        choose = tokens_from_first_window if causal else tokens_with_most_context
        return choose(self.word_ids, self.cu_seqlens, self.row_ids, self.window_starts, text)

    def mean_over_windows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Average each row's sequences, each weighted by its tokens: [S, C] to [N, C].

        A row of one sequence keeps its values to the bit.
        """
        if len(values) == len(self.rows):
            return values
        weights = self.lengths.astype(np.float64)[:, None]
        first = self.borders[:-1]
        summed = np.add.reduceat(values * weights, first) / np.add.reduceat(weights, first)
        alone = np.diff(self.borders) == 1
        return np.where(alone[:, None], values[first], summed.astype(values.dtype))
