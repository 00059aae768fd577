"""From scores of tokens to labels of words and spans of the text. Pure functions over arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class WordSpans(NamedTuple):
    """The words of a batch of rows, as int64 arrays [W], in order.

    Attributes:
        row: the row each word belongs to.
        token: the word's first token, in the packed batch.
        start: first character in the row's text.
        end: last character, exclusive.
    """

    row: NDArray[np.int64]
    token: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def find_words(word_ids: NDArray[np.int32], offsets: NDArray[np.int32], cu_seqlens: NDArray[np.int32]) -> WordSpans:
    """Find the words of each row's first text.

    Args:
        word_ids: int32 [T], -1 for special tokens; each row begins with one.
        offsets: int32 [T, 2].
        cu_seqlens: int32 [B + 1].
    """
    special = word_ids < 0
    row_of_token = np.repeat(np.arange(len(cu_seqlens) - 1), np.diff(cu_seqlens))
    seen = np.cumsum(special)
    before_row = (seen - special)[cu_seqlens[:-1]] if len(cu_seqlens) > 1 else seen
    first_text = ~special & (seen - before_row[row_of_token] == 1)
    previous = np.concatenate([[-1], word_ids[:-1]])
    following = np.concatenate([word_ids[1:], [-1]])
    first = np.flatnonzero(first_text & (word_ids != previous))
    last = np.flatnonzero(first_text & (word_ids != following))
    return WordSpans(row_of_token[first], first, offsets[first, 0].astype(np.int64), offsets[last, 1].astype(np.int64))


def group_entities(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Join the labels of successive words into entities.

    Labels such as `B-LOC`, `I-LOC`, `E-LOC`, `S-LOC` follow their scheme: B and S open an entity, I and E go on with
    one of the same type, or open it where there is none. Labels without such a prefix join while they are alike. `O`
    is no entity.

    Returns:
        For each entity its type, its first word and its last word (exclusive).
    """
    entities: list[tuple[str, int, int]] = []
    open_type: str | None = None
    for i, label in enumerate(labels):
        prefix, dash, kind = label.partition("-")
        if not dash or prefix not in ("B", "I", "E", "S"):
            prefix, kind = "I", label
        if label == "O":
            open_type = None
            continue
        if prefix in ("I", "E") and open_type == kind:
            entities[-1] = (kind, entities[-1][1], i + 1)
        else:
            entities.append((kind, i, i + 1))
        open_type = None if prefix in ("E", "S") else kind
    return entities
