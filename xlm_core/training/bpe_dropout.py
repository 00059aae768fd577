"""BPE dropout: a model that sees rare segmentations of words, too, learns what their parts mean.

Letters: T tokens, S sequences, V words of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.heads import NO_LABEL
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xlm_core.training.examples import Examples


def find_parts(vocab: Mapping[str, int], merges: Mapping[tuple[str, ...], int]) -> NDArray[np.int32]:
    """Find the two parts of each token: int32 [V, 2], -1 for tokens that are not merged from two others.

    Args:
        vocab: the id of each token.
        merges: the rank of each pair of symbols.
    """
    parts = np.full((max(vocab.values()) + 1, 2), -1, np.int32)
    for pair in sorted(merges, key=merges.__getitem__, reverse=True):  # of several merges to a token, the first counts
        token = vocab.get("".join(pair))
        if token is not None and all(part in vocab for part in pair):
            parts[token] = [vocab[part] for part in pair]
    return parts


@dataclass(frozen=True)
class BpeDropout:
    """Splits random tokens into the two symbols that byte-pair encoding merged, and these again.

    It works on tokens, so that the segmentation differs in every epoch; the original (Provilkov et al. 2020,
    arXiv:1910.13267) leaves out merges while it segments the text.

    Attributes:
        parts: int32 [V, 2], see `find_parts`.
        probability: of each split.
        max_length: a sequence that would be longer is left as it is.
    """

    parts: NDArray[np.int32]
    probability: float
    max_length: int

    def apply(self, examples: Examples, rng: np.random.Generator) -> Examples:
        """Split tokens of examples. A target of a split token becomes that of its first part.

        Args:
            examples: without kept states; their targets are those of rows or of tokens.
            rng: decides which tokens are split.
        """
        sequences = examples.sequences
        ids, source = sequences.input_ids, np.arange(len(sequences.input_ids))
        may_split = np.ones(len(ids), np.bool_)
        while True:
            is_split = may_split & (self.parts[ids, 0] >= 0) & (rng.random(len(ids)) < self.probability)
            if not is_split.any():
                break
            counts = 1 + is_split
            starts = np.cumsum(counts) - counts
            new_ids, may_split = np.repeat(ids, counts), np.repeat(is_split, counts)
            new_ids[starts[is_split]], new_ids[starts[is_split] + 1] = self.parts[ids[is_split]].T
            ids, source = new_ids, np.repeat(source, counts)
        row_of_token = np.repeat(np.arange(len(sequences.lengths)), sequences.lengths)
        lengths = np.bincount(row_of_token[source], minlength=len(sequences.lengths))
        too_long = lengths > self.max_length
        if too_long.any():
            is_first = np.diff(source, prepend=-1) > 0
            undone = too_long[row_of_token[source]]
            ids = np.where(undone, sequences.input_ids[source], ids)
            ids, source = (values[is_first | ~undone] for values in (ids, source))
            lengths = np.where(too_long, sequences.lengths, lengths)
        targets = examples.targets
        if targets is not None and examples.per_token:
            targets = np.where(np.diff(source, prepend=-1) > 0, targets[source], NO_LABEL)
        cu_seqlens = cumulative_lengths(lengths)
        return replace(examples, sequences=replace(sequences, input_ids=ids, cu_seqlens=cu_seqlens), targets=targets)
