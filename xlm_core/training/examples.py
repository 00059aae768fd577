"""Training examples: the tokens of rows, and what the model should predict for them.

Letters: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xlm_core.ragged import ragged_positions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences


@dataclass(frozen=True)
class Examples:
    """N rows with their targets.

    Attributes:
        sequences: the tokens. A row has one sequence, or one for each choice or each text of a translation.
        targets: what the objective predicts: for each row [N, …] or, if `per_token`, for each token [T]; None if the
            tokens themselves are predicted.
        per_token: whether `targets` has one value per token.
    """

    sequences: Sequences
    targets: NDArray[Any] | None = None
    per_token: bool = False

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return self.sequences.num_rows

    @property
    def row_lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each row, over all its sequences, [N]."""
        return self._token_offsets[1:] - self._token_offsets[:-1]

    @property
    def _token_offsets(self) -> NDArray[np.int64]:
        return self.sequences.cu_seqlens[self.sequences.row_offsets].astype("int64")

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return the rows that the index selects, in its order; a row may be repeated."""
        targets = self.targets
        if targets is not None:
            targets = targets[ragged_positions(self._token_offsets, rows) if self.per_token else rows]
        return Examples(self.sequences.take(rows), targets, self.per_token)
