"""From labels of words to entities, by the label scheme of the model.

Letters: W words, C labels, E entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.decoding.label_scheme import parse_label_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding.label_scheme import LabelScheme, SchemeName


class Entities(NamedTuple):
    """Entities in the order of the words; they never overlap.

    Attributes:
        type: int64 [E], index in the scheme's `types`.
        first: int64 [E], index of the first word.
        last: int64 [E], index of the last word, inclusive.
        score: float32 [E], mean score of the words.
    """

    type: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: NDArray[np.float32]


def find_entities(
    label_W: NDArray[np.int64], score_W: NDArray[np.float32], row_W: NDArray[np.int64], scheme: LabelScheme
) -> Entities:
    """Join labelled words to entities; any sequence of labels is accepted.

    A word continues the entity of the previous word if that entity has the same type and has not ended; otherwise it
    begins an entity. So an I, E or L that does not follow its type begins an entity, and a run of one plain label is
    one entity.

    Args:
        label_W: int64, label id of each word.
        score_W: float32, score of that label.
        row_W: int64, row of each word; entities never span rows.
        scheme: the scheme of the labels.
    """
    type_W = scheme.type_of[label_W]
    inside = np.flatnonzero(type_W >= 0)
    label, kind, row = label_W[inside], type_W[inside], row_W[inside]
    is_boundary = np.ones(len(inside) + 1, np.bool_)  # before each word, and after the last one
    continues = (np.diff(inside) == 1) & (row[1:] == row[:-1]) & (kind[1:] == kind[:-1])
    is_boundary[1:-1] = ~continues | scheme.begins[label[1:]] | scheme.ends[label[:-1]]
    first, last = np.flatnonzero(is_boundary[:-1]), np.flatnonzero(is_boundary[1:])
    total = np.add.reduceat(score_W[inside], first, dtype=np.float64)
    return Entities(kind[first], inside[first], inside[last], (total / (last - first + 1)).astype(np.float32))


def group_entities(
    labels: Sequence[str], label_set: Sequence[str] | None = None, scheme: SchemeName = "auto"
) -> list[tuple[str, int, int]]:
    """Join the labels of the words of one text to entities.

    Args:
        labels: the label of each word.
        label_set: all labels of the model, which determine the scheme (see `parse_label_scheme`). Without it, the
            scheme is determined from `labels`, which is wrong for plain labels if all of them look like `B-side`.
        scheme: the scheme; by default that of the label set.

    Returns:
        Type, first word and last word (exclusive) of each entity.
    """
    names = list(dict.fromkeys(labels if label_set is None else label_set))
    parsed = parse_label_scheme(names, scheme)
    label_id = {name: i for i, name in enumerate(names)}
    label_W = np.array([label_id[label] for label in labels], np.int64)
    found = find_entities(label_W, np.ones(len(labels), np.float32), np.zeros(len(labels), np.int64), parsed)
    columns = (found.type.tolist(), found.first.tolist(), found.last.tolist())
    return [(parsed.types[kind], first, last + 1) for kind, first, last in zip(*columns, strict=True)]
