"""The tokens of rows. A row has one sequence, or several: one for each choice, or for each window of a long text.

Letters: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlm_core.decoding import Sequences, text_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.tokenizer.packed_tokenizer import PackedTokenizer
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
    def encode(
        cls,
        tokenizer: PackedTokenizer,
        texts: Sequence[Sequence[Sequence[str | Sequence[str]]]],
        langs: Sequence[str | None],
        **options: Any,
    ) -> RowTokens:
        """Encode the texts of rows.

        Args:
            tokenizer: encodes them.
            texts: for each row, the texts of each of its sequences before windowing: one text, or a pair.
            langs: the language of each row.
            options: the keyword arguments of `PackedTokenizer.encode_batch`.
        """
        flat = [sequence for sequences in texts for sequence in sequences]
        first, *second = zip(*flat, strict=True) if flat else [()]
        num_sequences = [len(sequences) for sequences in texts]
        langs_of_sequences = [lang for lang, number in zip(langs, num_sequences, strict=True) for _ in range(number)]
        encoding = tokenizer.encode_batch(first, langs_of_sequences, pairs=second[0] if second else None, **options)
        row_of_text = np.repeat(np.arange(len(texts)), num_sequences)
        row_offsets = np.searchsorted(row_of_text[encoding.row_ids], np.arange(len(texts) + 1))
        counts = (encoding.num_tokens, encoding.num_truncated, encoding.num_unknown)
        sums = (np.bincount(row_of_text, count, minlength=len(texts)).astype(np.int64) for count in counts)
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
