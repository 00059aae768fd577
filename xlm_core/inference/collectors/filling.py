"""The most likely tokens for each masked position of a row.

Letters: T tokens, N rows, M masks, K tokens predicted for each mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.inference.run import Collector
from xlm_core.model import Write, to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.heads import LanguageModelHead
    from xlm_core.inference.model import Model, Pass


class FilledMasks(NamedTuple):
    """Predictions for the masks of all rows that were not cut off.

    Attributes:
        row_offsets: int64 [N + 1], the first mask of each row.
        tokens: M * K tokens, those of each mask together, the best first, without the mark of a word's end.
        scores: float32 [M, K], their probabilities.
    """

    row_offsets: NDArray[np.int64]
    tokens: list[str]
    scores: NDArray[np.float32]


class MaskCollector(Collector[FilledMasks]):
    """Collects predictions at masks.

    Args:
        sequences: of all rows, with word ids.
        model: the model, for its vocabulary.
        head: the head.
        top_k: number of tokens for each mask, at most the size of the vocabulary.
    """

    def __init__(self, sequences: Sequences, model: Model, head: LanguageModelHead, top_k: int):
        self._sequences, self._head, self._vocabulary, self._top_k = sequences, head, model.tokenizer, top_k
        is_mask = sequences.input_ids == model.tokenizer.mask_token_id
        self._masks = np.flatnonzero(is_mask & sequences.mark_text_tokens())
        self._mask_of_token = np.full(len(sequences.input_ids), -1)
        self._mask_of_token[self._masks] = np.arange(len(self._masks))
        self._ids_MK = np.empty((len(self._masks), top_k), np.int64)
        self._scores_MK = np.empty((len(self._masks), top_k), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        mask_of_token = self._mask_of_token[step.tokens]
        positions = np.flatnonzero(mask_of_token >= 0)
        if not len(positions):
            return []
        hidden = step.hidden_TD[to_device(positions, step.hidden_TD.device)]
        scores, ids = self._head.top_k(hidden, self._top_k)
        masks = mask_of_token[positions]
        return [Write(self._ids_MK, masks, ids), Write(self._scores_MK, masks, scores.float())]

    def result(self) -> FilledMasks:
        """See `Collector`."""
        from xlm_core.tokenizer import END_OF_WORD  # here, because it loads libraries that few tasks need

        subwords = self._vocabulary.convert_ids_to_tokens(self._ids_MK.reshape(-1).tolist())
        tokens = [subword.removesuffix(END_OF_WORD) for subword in subwords]
        row_of_mask = self._sequences.row_of_token[self._masks]
        row_offsets = np.searchsorted(row_of_mask, np.arange(self._sequences.num_rows + 1))
        return FilledMasks(row_offsets, tokens, self._scores_MK)
