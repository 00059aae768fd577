"""Build sequences from the tokens of texts: special tokens, truncation, windows.

Letters: N rows of K texts, S sequences, T tokens in total.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import concatenated_ranges, cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_NO_LIMIT = 2**40  # tokens


class Token(NamedTuple):
    """One token and its characters. A special token has none, and the offsets that the reference gives it."""

    id: int
    start: int = 0
    end: int = 0
    is_special: bool = True


@dataclass(frozen=True)
class TextTokens:
    """The tokens of N texts, laid end to end.

    Attributes:
        ids: int32 [T].
        starts, ends: int32 [T], the characters of each token in its text; empty if they were not requested.
        word_ids: int32 [T], the index of the word in its text.
        cu_sizes: int32 [N + 1]; text n has the tokens `[cu_sizes[n], cu_sizes[n + 1])`.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    cu_sizes: NDArray[np.int32]

    @classmethod
    def concatenate(cls, groups: Sequence[TextTokens]) -> TextTokens:
        """Join the texts of several groups."""
        if len(groups) == 1:
            return groups[0]
        none = np.zeros(0, np.int32)
        bases = np.cumsum([0, *(len(group.ids) for group in groups)], dtype=np.int32)
        cu_sizes = [group.cu_sizes[:-1] + base for group, base in zip(groups, bases, strict=False)]
        return cls(
            np.concatenate([none, *(group.ids for group in groups)]),
            np.concatenate([none, *(group.starts for group in groups)]),
            np.concatenate([none, *(group.ends for group in groups)]),
            np.concatenate([none, *(group.word_ids for group in groups)]),
            np.concatenate([*cu_sizes, bases[-1:]]),
        )

    def to_lists(self) -> list[list[Token]]:
        """Return the tokens of each text as Python objects."""
        columns = (self.ids.tolist(), self.starts.tolist(), self.ends.tolist())
        tokens = [Token(*values, is_special=False) for values in zip(*columns, strict=True)]
        bounds = self.cu_sizes.tolist()
        return [tokens[first:stop] for first, stop in pairwise(bounds)]


@dataclass(frozen=True)
class Encoding:
    """A batch of packed token sequences. A row is one sequence, or several windows over its last text.

    Attributes:
        input_ids: int32 [T].
        cu_seqlens: int32 [S + 1]; sequence s is `input_ids[cu_seqlens[s]:cu_seqlens[s + 1]]`.
        offsets: int32 [T, 2], start and end (exclusive) of each token in the characters of its original text; for a
            list of words, of `" ".join(words)`. Special tokens have (-1, -1). Starts and ends never decrease within a
            text. [0, 2] if they were not requested.
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


@dataclass(frozen=True)
class SequenceFormat:
    """How the tokens of texts become sequences: `<s> A </s>` and `<s> A </s> B </s>`.

    Attributes:
        bos_id, sep_id, unk_id: ids of the token before the first text, the token after each text, and unknown tokens.
        num_texts: K, texts per row, 1 or 2.
        max_length: maximum number of tokens in a sequence, special tokens included; None for no limit.
        overlap: tokens that consecutive windows of a row share; None to truncate rows longer than `max_length`.

    Raises:
        ValueError: `max_length` has no room for the special tokens, or none in addition to `overlap`.
    """

    bos_id: int
    sep_id: int
    unk_id: int
    num_texts: int
    max_length: int | None
    overlap: int | None

    def __post_init__(self) -> None:
        num_special, max_length, overlap = 1 + self.num_texts, self.max_length, self.overlap
        if max_length is not None and max_length < num_special:
            raise ValueError(f"max_length: got {max_length}, expected at least {num_special} (the special tokens)")
        if overlap is not None and not 0 <= overlap < (max_length or _NO_LIMIT) - num_special:
            limit = " or more" if max_length is None else f" to {max_length - num_special - 1}, so that windows advance"
            raise ValueError(f"overlap: got {overlap}, expected 0{limit}")

    def build(self, tokens: TextTokens, texts_NK: NDArray[np.int64]) -> Encoding:
        """Pack rows, each as one sequence or as windows.

        A pair is truncated, without windows, if its first text leaves room for at most `overlap` tokens of the second.

        Args:
            tokens: of all texts.
            texts_NK: [N, K], the texts of each row.
        """
        sizes_NK = np.diff(tokens.cu_sizes).astype(np.int64)[texts_NK]
        num_tokens_N = 1 + self.num_texts + sizes_NK.sum(1)
        excess_N = np.maximum(num_tokens_N - (self.max_length or _NO_LIMIT), 0)
        room_N = sizes_NK[:, -1] - excess_N  # tokens of the last text next to all other tokens of the row
        overlap = _NO_LIMIT if self.overlap is None else self.overlap
        has_windows_N = (excess_N > 0) & (room_N > overlap)
        step_N = np.where(has_windows_N, room_N - overlap, 1)
        num_windows_N = np.where(has_windows_N, -(-(sizes_NK[:, -1] - overlap) // step_N), 1)
        kept_NK = sizes_NK.copy()
        for row in np.flatnonzero((excess_N > 0) & ~has_windows_N).tolist():
            kept_NK[row] = truncated_sizes(sizes_NK[row].tolist(), int(excess_N[row]))

        row_S = np.repeat(np.arange(len(texts_NK)), num_windows_N)
        first_S = concatenated_ranges(num_windows_N) * step_N[row_S]
        sizes_SK = kept_NK[row_S]
        sizes_SK[:, -1] = np.where(
            has_windows_N[row_S], np.minimum(sizes_SK[:, -1] - first_S, room_N[row_S]), sizes_SK[:, -1]
        )
        source_SK = tokens.cu_sizes[:-1].astype(np.int64)[texts_NK][row_S]
        source_SK[:, -1] += first_S
        cu_seqlens = cumulative_lengths(1 + self.num_texts + sizes_SK.sum(1))
        # In a sequence, one special token precedes the first text, and one follows each text.
        target_SK = cu_seqlens[:-1, None] + 1 + np.arange(self.num_texts) + np.cumsum(sizes_SK, 1) - sizes_SK
        lengths, steps = sizes_SK.reshape(-1), concatenated_ranges(sizes_SK.reshape(-1))
        target_T = np.repeat(target_SK.reshape(-1), lengths) + steps
        source_T = np.repeat(source_SK.reshape(-1), lengths) + steps

        def pack(values: NDArray[np.int32], special: int) -> NDArray[np.int32]:
            packed = np.full(cu_seqlens[-1], special, np.int32)
            packed[target_T] = values[source_T]
            return packed

        input_ids = pack(tokens.ids, self.sep_id)
        input_ids[cu_seqlens[:-1]] = self.bos_id
        has_offsets = len(tokens.starts) == len(tokens.ids)
        unknown_before = cumulative_lengths((tokens.ids == self.unk_id).view(np.int8))[tokens.cu_sizes]
        return Encoding(
            input_ids=input_ids,
            cu_seqlens=cu_seqlens,
            offsets=np.stack([pack(tokens.starts, -1), pack(tokens.ends, -1)], axis=1)
            if has_offsets
            else np.zeros((0, 2), np.int32),
            word_ids=pack(tokens.word_ids, -1),
            row_ids=row_S.astype(np.int32),
            window_starts=first_S.astype(np.int32),
            num_truncated=np.where(has_windows_N, 0, excess_N).astype(np.int32),
            num_tokens=num_tokens_N.astype(np.int32),
            num_unknown=np.diff(unknown_before)[texts_NK].sum(1).astype(np.int32),
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
