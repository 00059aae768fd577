"""Build sequences from the tokens of texts: special tokens, truncation, windows.

Letters: N rows, S sequences, T tokens in total.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Encoding:
    """A batch of packed token sequences. A row is one sequence, or several windows over its last text.

    Attributes:
        input_ids: int32 [T].
        cu_seqlens: int32 [S + 1]; sequence s is `input_ids[cu_seqlens[s]:cu_seqlens[s + 1]]`.
        offsets: int32 [T, 2], start and end (exclusive) of each token in the characters of its original text; for a
            list of words, of `" ".join(words)`. Special tokens have (-1, -1). Starts and ends never decrease within a
            text.
        word_ids: int32 [T], the index of the word in its text; -1 for special tokens.
        row_ids: int32 [S], the row of each sequence. It never decreases, and every row has a sequence.
        window_starts: int32 [S], the index, among all tokens of the row's last text, of the first one in the sequence.
            It is 0 except in a row's second and later windows.
        num_truncated: int32 [N], tokens that were cut off at `max_length`.
        num_tokens: int32 [N], tokens of the row, special tokens included, before truncation. Tokens in two windows
            count once.
        num_unknown: int32 [N], how many of those are not in the vocabulary.
    """

    input_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    offsets: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    row_ids: NDArray[np.int32]
    window_starts: NDArray[np.int32]
    num_truncated: NDArray[np.int32]
    num_tokens: NDArray[np.int32]
    num_unknown: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of sequences, S."""
        return len(self.cu_seqlens) - 1


class Tokens:
    """A growing list of tokens, of a text or a sequence. Special tokens have offsets and word ids of -1."""

    __slots__ = ("ends", "ids", "starts", "word_ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.word_ids: list[int] = []

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, token_id: int, start: int = -1, end: int = -1, word_id: int = -1) -> None:
        """Append one token."""
        self.ids.append(token_id)
        self.starts.append(start)
        self.ends.append(end)
        self.word_ids.append(word_id)

    def extend(self, other: Tokens, start: int, stop: int) -> None:
        """Append the tokens `[start, stop)` of another list."""
        self.ids += other.ids[start:stop]
        self.starts += other.starts[start:stop]
        self.ends += other.ends[start:stop]
        self.word_ids += other.word_ids[start:stop]


class SequenceBuilder:
    """Packs rows as sequences `<s> A </s>` and `<s> A </s> B </s>`.

    Args:
        bos_id, sep_id, unk_id: ids of the token before the first text, the token after each text, and unknown tokens.
        num_texts: texts per row, 1 or 2.
        max_length: maximum number of tokens in a sequence, special tokens included; None for no limit.
        overlap: tokens that consecutive windows of a row share; None to truncate rows longer than `max_length`.

    Raises:
        ValueError: `max_length` has no room for the special tokens, or none in addition to `overlap`.
    """

    def __init__(
        self, bos_id: int, sep_id: int, unk_id: int, *, num_texts: int, max_length: int | None, overlap: int | None
    ):
        num_special = 1 + num_texts
        if max_length is not None and max_length < num_special:
            raise ValueError(f"max_length: got {max_length}, expected at least {num_special} (the special tokens)")
        self._max_length = sys.maxsize if max_length is None else max_length
        if overlap is not None and not 0 <= overlap < self._max_length - num_special:
            limit = " or more" if max_length is None else f" to {max_length - num_special - 1}, so that windows advance"
            raise ValueError(f"overlap: got {overlap}, expected 0{limit}")
        self._bos_id, self._sep_id, self._unk_id, self._overlap = bos_id, sep_id, unk_id, overlap
        # A shard has millions of tokens. An array takes 4 bytes per number; a list takes 8, plus the int object.
        self._ids, self._starts, self._ends, self._word_ids = (array("i") for _ in range(4))
        self._cu_seqlens = [0]
        self._row_ids: list[int] = []
        self._window_starts: list[int] = []
        self._num_truncated: list[int] = []
        self._num_tokens: list[int] = []
        self._num_unknown: list[int] = []

    def add_row(self, texts: Sequence[Tokens]) -> None:
        """Add one row, as one sequence or as windows.

        A pair is truncated, without windows, if its first text leaves room for at most `overlap` tokens of the second.
        """
        sizes = [len(text) for text in texts]
        num_tokens = 1 + sum(sizes) + len(sizes)
        num_excess = max(num_tokens - self._max_length, 0)
        room = sizes[-1] - num_excess  # tokens of the last text in a sequence that holds all other tokens of the row
        overlap = self._overlap
        if not num_excess:
            self._add_sequence(texts, sizes)
        elif overlap is None or room <= overlap:
            self._add_sequence(texts, truncated_sizes(sizes, num_excess))
        else:
            for start in range(0, sizes[-1] - overlap, room - overlap):
                self._add_sequence(texts, [*sizes[:-1], start + room], start)
            num_excess = 0
        self._num_truncated.append(num_excess)
        self._num_tokens.append(num_tokens)
        self._num_unknown.append(sum(text.ids.count(self._unk_id) for text in texts))

    def _add_sequence(self, texts: Sequence[Tokens], stops: Sequence[int], start: int = 0) -> None:
        """Add one sequence: each text up to its stop, and the last text from `start`."""
        last = len(texts) - 1
        self._add_special(self._bos_id)
        for i, (text, stop) in enumerate(zip(texts, stops, strict=True)):
            part = slice(start if i == last else 0, stop)
            self._ids.extend(text.ids[part])
            self._starts.extend(text.starts[part])
            self._ends.extend(text.ends[part])
            self._word_ids.extend(text.word_ids[part])
            self._add_special(self._sep_id)
        self._cu_seqlens.append(len(self._ids))
        self._row_ids.append(len(self._num_tokens))
        self._window_starts.append(start)

    def _add_special(self, token_id: int) -> None:
        self._ids.append(token_id)
        for column in (self._starts, self._ends, self._word_ids):
            column.append(-1)

    def build(self) -> Encoding:
        """Return all rows added so far as one batch."""
        return Encoding(
            input_ids=_int32(self._ids),
            cu_seqlens=_int32(self._cu_seqlens),
            offsets=np.stack([_int32(self._starts), _int32(self._ends)], axis=1),
            word_ids=_int32(self._word_ids),
            row_ids=_int32(self._row_ids),
            window_starts=_int32(self._window_starts),
            num_truncated=_int32(self._num_truncated),
            num_tokens=_int32(self._num_tokens),
            num_unknown=_int32(self._num_unknown),
        )


def truncated_sizes(sizes: Sequence[int], num_excess: int, truncation: str = "longest_first") -> list[int]:
    """Compute how many tokens each text keeps if `num_excess` tokens have to be removed.

    Args:
        sizes: token counts of one text, or of a pair.
        num_excess: tokens to remove.
        truncation: "longest_first" shortens the longer text of a pair to the length of the other, then removes half
            of the rest from each, and an odd token from the second; "only_first" and "only_second" shorten one text.

    Raises:
        ValueError: the text to shorten does not exist or is too short.
    """
    if truncation == "longest_first" and len(sizes) == 2:
        if num_excess > sum(sizes):
            raise ValueError(
                f"truncation {truncation!r} has to remove {num_excess} tokens, but the texts have {sum(sizes)}"
            )
        return _longest_first(sizes[0], sizes[1], num_excess)
    text = 1 if truncation == "only_second" else 0
    if text >= len(sizes) or sizes[text] < num_excess:
        have = f"that text has {sizes[text]}" if text < len(sizes) else "there is no second text"
        raise ValueError(f"truncation {truncation!r} has to remove {num_excess} tokens, but {have}")
    return [size - num_excess * (i == text) for i, size in enumerate(sizes)]


def _longest_first(first: int, second: int, num_excess: int) -> list[int]:
    lead = min(abs(first - second), num_excess)
    half, rest = (num_excess - lead) // 2, num_excess - lead - (num_excess - lead) // 2
    return [first - lead - half, second - rest] if first > second else [first - half, second - lead - rest]


def _int32(values: Sequence[int] | array[int]) -> NDArray[np.int32]:
    return np.array(values, np.int32)
