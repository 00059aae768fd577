"""From labels of words to entities, by the scheme that a model's labels follow.

Letters: W words, C labels, E entities.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OUTSIDE = "O"  # the label of a word in no entity

_TAG = re.compile(r"[BIESLU]-.+", re.DOTALL)
_OPENING, _CLOSING = {"B", "S", "U"}, {"E", "S", "L", "U"}  # BILOU's last and unit are BIOES's end and single


class LabelScheme(NamedTuple):
    """What each of a model's labels says about the entity that its word is in.

    Attributes:
        types: the types of entities, in the order of the labels.
        type_of: int64 [C], the label's type, a number of `types`; -1 for `O`.
        opens: bool [C], the word begins an entity, whatever stands before it.
        closes: bool [C], the word ends its entity, whatever follows.
    """

    types: tuple[str, ...]
    type_of: NDArray[np.int64]
    opens: NDArray[np.bool_]
    closes: NDArray[np.bool_]


class Entities(NamedTuple):
    """Entities in the order of the words; they never overlap.

    Attributes:
        type: int64 [E], a number of the scheme's `types`.
        first: int64 [E], its first word.
        last: int64 [E], its last word, inclusive.
        score: float32 [E], the mean of its words' scores.
    """

    type: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: NDArray[np.float32]


def parse_label_scheme(labels: Sequence[str]) -> LabelScheme:
    """Read the scheme of a model's labels from the whole set.

    Where every label but `O` is one of the prefixes B, I, E, S, L, U, a dash and a type, they follow BIO (IOB1, IOB2),
    BIOES or BILOU. Otherwise all of them are plain types, also one such as `B-side`.

    Args:
        labels: the names of the model's labels, by id.
    """
    tagged = all(_TAG.fullmatch(label) for label in labels if label != OUTSIDE)
    types: dict[str, int] = {}
    prefixes: list[str] = []
    type_of: list[int] = []
    for label in labels:
        prefix, kind = label.split("-", 1) if tagged and label != OUTSIDE else ("", label)
        prefixes.append(prefix)
        type_of.append(-1 if label == OUTSIDE else types.setdefault(kind, len(types)))
    return LabelScheme(
        types=tuple(types),
        type_of=np.array(type_of, np.int64),
        opens=np.array([prefix in _OPENING for prefix in prefixes], np.bool_),
        closes=np.array([prefix in _CLOSING for prefix in prefixes], np.bool_),
    )


def find_entities(
    label_W: NDArray[np.int64], score_W: NDArray[np.float32], row_W: NDArray[np.int64], scheme: LabelScheme
) -> Entities:
    """Join labelled words into entities, whatever the order of the labels.

    A word goes on with the entity of the word before it if that one is open and of the same type, and opens one
    otherwise. So an I, E or L that follows nothing of its type opens an entity, and each run of one plain label is one.

    Args:
        label_W: int64, each word's label, an id of the scheme's.
        score_W: float32, the score of that label.
        row_W: int64, each word's row; no entity goes over a row's end.
        scheme: what the labels mean.
    """
    type_W = scheme.type_of[label_W]
    inside = np.flatnonzero(type_W >= 0)
    label, kind, row = label_W[inside], type_W[inside], row_W[inside]
    opens = np.ones(len(inside) + 1, np.bool_)  # the last one stands for the end
    goes_on = (np.diff(inside) == 1) & (row[1:] == row[:-1]) & (kind[1:] == kind[:-1])
    opens[1:-1] = ~goes_on | scheme.opens[label[1:]] | scheme.closes[label[:-1]]
    first, last = np.flatnonzero(opens[:-1]), np.flatnonzero(opens[1:])
    total = np.add.reduceat(score_W[inside], first, dtype=np.float64)
    return Entities(kind[first], inside[first], inside[last], (total / (last - first + 1)).astype(np.float32))


def group_entities(labels: Sequence[str], label_set: Sequence[str] | None = None) -> list[tuple[str, int, int]]:
    """Join the labels of one text's successive words into entities.

    Args:
        labels: the label of each word.
        label_set: all labels of the model, which decide how each is read (see `parse_label_scheme`). Without it those given
            decide, which misreads a plain set when a text shows only labels that look like `B-side`.

    Returns:
        For each entity its type, its first word and its last word (exclusive).
    """
    names = list(dict.fromkeys(labels if label_set is None else label_set))
    scheme = parse_label_scheme(names)
    number = {name: i for i, name in enumerate(names)}
    label_W = np.array([number[label] for label in labels], np.int64)
    found = find_entities(label_W, np.ones(len(labels), np.float32), np.zeros(len(labels), np.int64), scheme)
    columns = (found.type.tolist(), found.first.tolist(), found.last.tolist())
    return [(scheme.types[kind], first, last + 1) for kind, first, last in zip(*columns, strict=True)]
