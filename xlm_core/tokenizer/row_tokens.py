"""The tokens of rows. A row has one sequence, or several: one for each choice, or for each window of a long text.

Letters: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.decoding import Sequences, text_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.tokenizer.sequences import Encoding


@dataclass(frozen=True)
class RowTokens:
    """The encoded texts of N rows.

    Attributes:
        encoding: of all texts.
        row_offsets: [N + 1], the first sequence of each row.
        num_tokens, num_truncated, num_unknown: int64 [N], over all texts of a row, before windowing.
    """

    encoding: Encoding
    row_offsets: NDArray[np.int64]
    num_tokens: NDArray[np.int64]
    num_truncated: NDArray[np.int64]
    num_unknown: NDArray[np.int64]

    @classmethod
    def from_encoding(cls, encoding: Encoding, num_texts: Sequence[int]) -> RowTokens:
        """Group encoded texts by row.

        Args:
            encoding: of the texts, or pairs of texts, of all rows, one after another.
            num_texts: the number of texts of each row: of its choices, or 1.
        """
        num_rows = len(num_texts)
        row_of_text = np.repeat(np.arange(num_rows), num_texts)
        row_offsets = np.searchsorted(row_of_text[encoding.row_ids], np.arange(num_rows + 1))
        counts = (encoding.num_tokens, encoding.num_truncated, encoding.num_unknown)
        sums = (np.bincount(row_of_text, count, minlength=num_rows).astype(np.int64) for count in counts)
        return cls(encoding, row_offsets, *sums)

    def to_sequences(self, langs: NDArray[np.int32], *, with_offsets: bool) -> Sequences:
        """Return the sequences for the model.

        Args:
            langs: int32 [N], the language id of each row; -1 for none.
            with_offsets: whether word ids and offsets are read.
        """
        encoding = self.encoding
        return Sequences(
            encoding.input_ids,
            encoding.cu_seqlens,
            np.repeat(langs, np.diff(self.row_offsets)),
            self.row_offsets.astype(np.int32),
            encoding.window_starts,
            encoding.word_ids if with_offsets else encoding.word_ids[:0],
            encoding.offsets if with_offsets else encoding.offsets[:0],
        )

    def has_empty_text(self, num_texts: int) -> NDArray[np.bool_]:
        """Find rows with a sequence in which one of its `num_texts` texts has no token; bool [N]."""
        encoding = self.encoding
        sequence_T = np.repeat(np.arange(len(encoding)), np.diff(encoding.cu_seqlens))
        has_token = np.zeros((num_texts, len(encoding)), np.bool_)
        text_T = text_ids(encoding.word_ids, encoding.cu_seqlens)
        for text in range(num_texts):
            has_token[text, sequence_T[text_T == text]] = True
        num_empty_S = np.concatenate([[0], np.cumsum(~has_token.all(0))])
        return num_empty_S[self.row_offsets[1:]] > num_empty_S[self.row_offsets[:-1]]
