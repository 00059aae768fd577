"""Training examples: the tokens of rows, and what the model should predict for them.

Letters: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlm_core.ragged import concatenated_ranges, ragged_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences


@dataclass(frozen=True)
class KeptStates:
    """Output of a frozen trunk for N rows, see `freeze`.

    Attributes:
        values: float32 [K, D], a file that is mapped to memory.
        starts: int64 [N], the first vector of each row, which has one for each of its tokens.
        text_lengths: int64 [N], how many tokens each row had when the trunk ran.
    """

    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    text_lengths: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> KeptStates:
        """Return those of the rows that the index selects; reads nothing."""
        return KeptStates(self.values, self.starts[rows], self.text_lengths[rows])

    def read(self, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of rows that have the given numbers of tokens, [T, D]."""
        return self.values[np.repeat(self.starts, lengths) + concatenated_ranges(lengths)]


@dataclass(frozen=True)
class Examples:
    """N rows with their targets.

    Attributes:
        sequences: the tokens. A row has one sequence, or one for each choice or each text of a translation.
        targets: what the objective predicts: for each row [N, …] or, if `per_token`, for each token [T]; None if the
            tokens themselves are predicted.
        per_token: whether `targets` has one value per token.
        states: output of the trunk for each token; None if the trunk is run in each step.
    """

    sequences: Sequences
    targets: NDArray[Any] | None = None
    per_token: bool = False
    states: KeptStates | None = None

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return self.sequences.num_rows

    @property
    def row_lengths(self) -> NDArray[np.int64]:
        """Number of tokens that the trunk runs, or ran, for each row, over all its sequences, [N]."""
        return np.diff(self.token_offsets) if self.states is None else self.states.text_lengths

    @property
    def token_offsets(self) -> NDArray[np.int64]:
        """The first token of each row, [N + 1]."""
        return self.sequences.cu_seqlens[self.sequences.row_offsets].astype("int64")

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return the rows that the index selects, in its order; a row may be repeated."""
        targets = self.targets
        if targets is not None:
            targets = targets[ragged_positions(self.token_offsets, rows) if self.per_token else rows]
        states = None if self.states is None else self.states.take(rows)
        return Examples(self.sequences.take(rows), targets, self.per_token, states)
