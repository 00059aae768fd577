"""From the tokens of texts to sequences: special tokens, truncation, windows. B rows, S sequences, T tokens in all."""

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
    """A batch of token sequences laid end to end. A row is one sequence, or several windows over its last text.

    Attributes:
        input_ids: int32 [T].
        cu_seqlens: int32 [S + 1]; sequence s is `input_ids[cu_seqlens[s]:cu_seqlens[s + 1]]`.
        offsets: int32 [T, 2], the characters of the original text each token came from, end exclusive; of a pair's
            second text, in that text; of a list of words, in `" ".join(words)`. Special tokens have (-1, -1). Starts
            and ends never decrease within a text.
        word_ids: int32 [T], the number of the word within its text; -1 for special tokens.
        row_ids: int32 [S], the row each sequence belongs to; never decreasing, and no row is left out.
        window_starts: int32 [S], the number, within the row's whole last text, of the first token of it that the
            sequence holds; 0 but for a row's further windows.
        num_truncated: int32 [B], tokens that `max_length` left out.
        num_tokens: int32 [B], tokens of the row, special ones included, before anything was cut; windows do not count
            twice.
        num_unknown: int32 [B], how many of those the vocabulary does not know.
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
        """Count the sequences, S."""
        return len(self.cu_seqlens) - 1


class Tokens:
    """Tokens under way: of one text, of a sequence, or of a batch. Special tokens have -1 for all but their id."""

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
        """Append the tokens `[start, stop)` of others."""
        self.ids += other.ids[start:stop]
        self.starts += other.starts[start:stop]
        self.ends += other.ends[start:stop]
        self.word_ids += other.word_ids[start:stop]


class SequenceBuilder:
    """Lays rows end to end as sequences `<s> A </s>` and `<s> A </s> B </s>`.

    Args:
        bos_id, sep_id, unk_id: ids of the tokens a sequence begins with, of those that end its texts, of the unknown.
        num_texts: texts of a row, 1 or 2.
        max_length: tokens a sequence may have, special ones included; None for no limit.
        overlap: tokens that consecutive windows of a row share; None to cut off what `max_length` has no room for.

    Raises:
        ValueError: `max_length` has no room for the special tokens, or none beside `overlap`.
    """

    def __init__(
        self, bos_id: int, sep_id: int, unk_id: int, *, num_texts: int, max_length: int | None, overlap: int | None
    ):
        num_special = 1 + num_texts
        if max_length is not None and max_length < num_special:
            raise ValueError(f"max_length {max_length} leaves no room: special tokens alone are {num_special}")
        self._max_length = sys.maxsize if max_length is None else max_length
        if overlap is not None and not 0 <= overlap < self._max_length - num_special:
            room = "" if max_length is None else f" to {max_length - num_special - 1}, so that windows go forward"
            raise ValueError(f"overlap: got {overlap}, expected 0{room or ' or more'}")
        self._bos_id, self._sep_id, self._unk_id, self._overlap = bos_id, sep_id, unk_id, overlap
        # a shard has millions of tokens: four bytes a number here, where a list has eight and the number itself
        self._ids, self._starts, self._ends, self._word_ids = (array("i") for _ in range(4))
        self._borders = [0]
        self._row_ids: list[int] = []
        self._window_starts: list[int] = []
        self._num_truncated: list[int] = []
        self._num_tokens: list[int] = []
        self._num_unknown: list[int] = []

    def add_row(self, texts: Sequence[Tokens]) -> None:
        """Add one row, as one sequence or as windows.

        A row whose first text leaves a window no more than `overlap` tokens of the second is truncated instead.
        """
        sizes = [len(text) for text in texts]
        num_tokens = 1 + sum(sizes) + len(sizes)
        surplus = max(num_tokens - self._max_length, 0)
        room = sizes[-1] - surplus  # what a sequence can hold of the last text, beside all the rest
        overlap = self._overlap
        if not surplus:
            self._add_sequence(texts, sizes)
        elif overlap is None or room <= overlap:
            self._add_sequence(texts, truncated_sizes(sizes, surplus))
        else:
            for start in range(0, sizes[-1] - overlap, room - overlap):
                self._add_sequence(texts, [*sizes[:-1], start + room], start)
            surplus = 0
        self._num_truncated.append(surplus)
        self._num_tokens.append(num_tokens)
        self._num_unknown.append(sum(text.ids.count(self._unk_id) for text in texts))

    def _add_sequence(self, texts: Sequence[Tokens], stops: Sequence[int], start: int = 0) -> None:
        """Add what stands before `stops` in each text, and of the last one only what stands from `start` on."""
        last = len(texts) - 1
        self._add_special(self._bos_id)
        for i, (text, stop) in enumerate(zip(texts, stops, strict=True)):
            part = slice(start if i == last else 0, stop)
            self._ids.extend(text.ids[part])
            self._starts.extend(text.starts[part])
            self._ends.extend(text.ends[part])
            self._word_ids.extend(text.word_ids[part])
            self._add_special(self._sep_id)
        self._borders.append(len(self._ids))
        self._row_ids.append(len(self._num_tokens))
        self._window_starts.append(start)

    def _add_special(self, token_id: int) -> None:
        self._ids.append(token_id)
        for column in (self._starts, self._ends, self._word_ids):
            column.append(-1)

    def build(self) -> Encoding:
        """Give all rows added so far."""
        return Encoding(
            input_ids=_int32(self._ids),
            cu_seqlens=_int32(self._borders),
            offsets=np.stack([_int32(self._starts), _int32(self._ends)], axis=1),
            word_ids=_int32(self._word_ids),
            row_ids=_int32(self._row_ids),
            window_starts=_int32(self._window_starts),
            num_truncated=_int32(self._num_truncated),
            num_tokens=_int32(self._num_tokens),
            num_unknown=_int32(self._num_unknown),
        )


def truncated_sizes(sizes: Sequence[int], surplus: int, truncation: str = "longest_first") -> list[int]:
    """Say how many tokens each text keeps when `surplus` of them have to go.

    Args:
        sizes: tokens of the one text, or of both.
        surplus: at most all of them.
        truncation: "longest_first" takes from a pair first what the longer text is longer by, then half from each, an
            odd one from the second; "only_first" and "only_second" take from one text alone.

    Raises:
        ValueError: there is no such text, or too little in it.
    """
    if truncation == "longest_first" and len(sizes) == 2:
        if surplus > sum(sizes):
            raise ValueError(f"truncation {truncation!r} has to take {surplus} tokens, but the texts have {sum(sizes)}")
        return _longest_first(sizes[0], sizes[1], surplus)
    text = 1 if truncation == "only_second" else 0
    if text >= len(sizes) or sizes[text] < surplus:
        have = f"that text has {sizes[text]}" if text < len(sizes) else "there is no second text"
        raise ValueError(f"truncation {truncation!r} has to take {surplus} tokens, but {have}")
    return [size - surplus * (i == text) for i, size in enumerate(sizes)]


def _longest_first(first: int, second: int, surplus: int) -> list[int]:
    lead = min(abs(first - second), surplus)
    half, rest = (surplus - lead) // 2, surplus - lead - (surplus - lead) // 2
    return [first - lead - half, second - rest] if first > second else [first - half, second - lead - rest]


def _int32(values: Sequence[int] | array[int]) -> NDArray[np.int32]:
    return np.array(values, np.int32)
