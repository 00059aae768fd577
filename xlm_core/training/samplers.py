"""Which examples each training step has: shuffled again in every epoch, and languages sampled by the paper's rule.

A draw depends only on the seed, the step and how much was drawn before, so that training resumes with the same examples
on any number of workers.

Letters: N rows, G groups, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from xlm_core.decoding import Sequences
from xlm_core.ragged import cumulative_lengths, ragged_positions
from xlm_core.training.examples import Examples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING = np.empty(0, np.int32)
_GROUPS_AT_ONCE = 64  # drawn in one call, which takes as long as for one


class Sampler(Protocol):
    """Draws the examples of a step.

    Attributes:
        num_groups: G, the number of counters in its state.
        epoch_tokens: number of tokens of one epoch.
    """

    num_groups: int
    epoch_tokens: int

    def draw(
        self, rng: np.random.Generator, drawn: NDArray[np.int64], max_tokens: int
    ) -> tuple[Examples, NDArray[np.int64]]:
        """Draw the examples of one step.

        Args:
            rng: of this step.
            drawn: int64 [G], how many units of each group earlier steps have drawn.
            max_tokens: maximum number of tokens; a longer row is drawn alone.

        Returns:
            The examples, and `drawn` with those of this step.
        """
        ...


class Groups:
    """Rows in groups, such as languages, each in an order that is shuffled again in every epoch.

    Args:
        group_of_row: int64 [N], from 0.
        alpha: the probability of a group is its share of the rows to the power of alpha, normalized (Lample & Conneau
            2019, section 3.1): 1 draws rows as often as they occur, lower values draw rare languages more often.
        seed: of the order.
    """

    def __init__(self, group_of_row: NDArray[np.int64], alpha: float, seed: int):
        order = np.argsort(group_of_row, kind="stable")
        sizes = np.bincount(group_of_row)
        self.rows = np.split(order, np.cumsum(sizes)[:-1])
        shares = (sizes / sizes.sum()) ** alpha
        self.probabilities = shares / shares.sum()
        self._seed = seed
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}  # of each group, the epoch used last

    def order(self, group: int, epoch: int) -> NDArray[np.int64]:
        """Return the rows of a group in the order of an epoch."""
        if (cached := self._orders.get(group)) is None or cached[0] != epoch:
            rng = np.random.default_rng((self._seed, group, epoch))
            self._orders[group] = cached = (epoch, rng.permutation(self.rows[group]))
        return cached[1]

    def row(self, group: int, number: int) -> int:
        """Return the row that is drawn as the given number of its group, counted over all epochs."""
        epoch, position = divmod(number, len(self.rows[group]))
        return int(self.order(group, epoch)[position])


class RowSampler:
    """Draws whole rows.

    Args:
        examples: all rows.
        group_of_row: int64 [N], the language of each row, as a number from 0.
        alpha: see `Groups`; None draws every row once per epoch, regardless of its language.
        seed: of the order.
    """

    def __init__(self, examples: Examples, group_of_row: NDArray[np.int64], alpha: float | None, seed: int):
        self._examples, self._lengths = examples, examples.row_lengths
        groups = np.zeros(len(examples), np.int64) if alpha is None else group_of_row
        self._groups = Groups(groups, 1.0 if alpha is None else alpha, seed)
        self.num_groups = len(self._groups.rows)
        self.epoch_tokens = int(self._lengths.sum())

    def draw(
        self, rng: np.random.Generator, drawn: NDArray[np.int64], max_tokens: int
    ) -> tuple[Examples, NDArray[np.int64]]:
        """See `Sampler`."""
        drawn = drawn.copy()
        rows: list[int] = []
        num_tokens = 0
        while True:
            for group in rng.choice(self.num_groups, _GROUPS_AT_ONCE, p=self._groups.probabilities).tolist():
                row = self._groups.row(group, int(drawn[group]))
                num_tokens += int(self._lengths[row])
                if rows and num_tokens > max_tokens:
                    return self._examples.take(np.array(rows)), drawn
                rows.append(row)
                drawn[group] += 1


class StreamSampler:
    """Draws streams of consecutive text of one language, across the borders of rows, as the paper does.

    A stream is `stream_tokens` tokens of the concatenation of all rows, each without its first special token: what
    separates two rows is the token at the end of each.

    Args:
        examples: rows of one sequence each.
        group_of_row, alpha, seed: see `RowSampler`.
        stream_tokens: length of a stream.
    """

    def __init__(
        self,
        examples: Examples,
        group_of_row: NDArray[np.int64],
        alpha: float,
        seed: int,
        stream_tokens: int,
    ):
        sequences = examples.sequences
        self._ids, self._stream_tokens = sequences.input_ids, stream_tokens
        self._starts = sequences.cu_seqlens.astype(np.int64)[:-1] + 1
        self._sizes = sequences.lengths.astype(np.int64) - 1
        self._groups = Groups(group_of_row, alpha, seed)
        self._ends: dict[int, tuple[int, NDArray[np.int64]]] = {}  # of the rows in the order of a group's last epoch
        self._langs = [sequences.langs[rows[0]] for rows in self._groups.rows]
        self._num_tokens = [int(self._sizes[rows].sum()) for rows in self._groups.rows]
        self.num_groups = len(self._langs)
        self.epoch_tokens = sum(self._num_tokens)

    def draw(
        self, rng: np.random.Generator, drawn: NDArray[np.int64], max_tokens: int
    ) -> tuple[Examples, NDArray[np.int64]]:
        """See `Sampler`; a unit is a stream."""
        drawn = drawn.copy()
        num_streams = max(1, max_tokens // self._stream_tokens)
        groups = rng.choice(self.num_groups, num_streams, p=self._groups.probabilities)
        streams: list[NDArray[np.int32]] = []
        for group in groups.tolist():
            first = int(drawn[group]) * self._stream_tokens
            streams.append(self._read(group, first, first + self._stream_tokens))
            drawn[group] += 1
        counts = np.arange(num_streams + 1, dtype=np.int32)
        langs = np.array([self._langs[group] for group in groups], np.int32)
        sequences = Sequences(
            np.concatenate(streams),
            counts * np.int32(self._stream_tokens),
            langs,
            counts,
            np.zeros(num_streams, np.int32),
            _NOTHING,
            _NOTHING.reshape(-1, 2),
        )
        return Examples(sequences), drawn

    def _read(self, group: int, first: int, end: int) -> NDArray[np.int32]:
        """Return tokens of a group's text, counted over all epochs."""
        parts: list[NDArray[np.int32]] = []
        while first < end:
            epoch, start = divmod(first, self._num_tokens[group])
            stop = min(start + end - first, self._num_tokens[group])
            parts.append(self._read_epoch(group, epoch, start, stop))
            first += stop - start
        return np.concatenate(parts)

    def _read_epoch(self, group: int, epoch: int, start: int, stop: int) -> NDArray[np.int32]:
        rows = self._groups.order(group, epoch)
        if (cached := self._ends.get(group)) is None or cached[0] != epoch:
            self._ends[group] = cached = (epoch, np.cumsum(self._sizes[rows]))
        ends = cached[1]
        some = rows[np.searchsorted(ends, start, "right") : np.searchsorted(ends, stop, "left") + 1]
        before = int(ends[np.searchsorted(ends, start, "right")] - self._sizes[some[0]])
        offsets = np.stack([self._starts[some], self._starts[some] + self._sizes[some]], axis=1).reshape(-1)
        positions = ragged_positions(offsets, np.arange(0, 2 * len(some), 2))
        return self._ids[positions][start - before : stop - before]


def group_by_lang(examples: Examples) -> NDArray[np.int64]:
    """Number the languages of rows, int64 [N]; the languages of all sequences of a row count, as of a translation."""
    sequences = examples.sequences
    first, last = sequences.row_offsets[:-1], sequences.row_offsets[1:] - 1
    pairs = np.stack([sequences.langs[first], sequences.langs[last]], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def split_step(examples: Examples, max_tokens: int, num_workers: int, *, sort: bool) -> list[NDArray[np.int64]]:
    """Split the rows of a step into batches of about equally many tokens.

    Args:
        examples: the rows of the step.
        max_tokens: about how many tokens a batch has at most.
        num_workers: the number of batches is a multiple of it, unless there are too few rows.
        sort: whether rows of similar length share a batch, longest first, which makes attention efficient.

    Returns:
        The rows of each batch. The batches together have every row once.
    """
    lengths = examples.row_lengths
    order = np.argsort(-lengths, kind="stable") if sort else np.arange(len(lengths))
    num_batches = -(-int(lengths.sum()) // max_tokens)
    num_batches = min(-(-num_batches // num_workers) * num_workers, len(lengths))
    middles = cumulative_lengths(lengths[order])[:-1] + lengths[order] / 2
    batch = np.minimum(middles * num_batches // max(1, lengths.sum()), num_batches - 1).astype(np.int64)
    found = [order[batch == i] for i in range(num_batches)]
    return [rows for rows in found if len(rows)]
