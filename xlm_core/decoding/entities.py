"""From labels of words to entities, by the label scheme of the model.

Letters: W words, C labels, E entities.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OUTSIDE = "O"  # the label of a word outside of entities

_TAG = re.compile(r"[BIESLU]-.+", re.DOTALL)
_BEGIN_PREFIXES, _END_PREFIXES = {"B", "S", "U"}, {"E", "S", "L", "U"}  # BIOES end, single = BILOU last, unit


class LabelScheme(NamedTuple):
    """The meaning of each label of a model for the entity that contains the word.

    Attributes:
        types: entity types, in the order of the labels.
        type_of: int64 [C], index in `types` of each label's type; -1 for `O`.
        begins: bool [C], whether the word always begins a new entity.
        ends: bool [C], whether the word always ends its entity.
    """

    types: tuple[str, ...]
    type_of: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]


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


def parse_label_scheme(labels: Sequence[str]) -> LabelScheme:
    """Find the scheme of a model's labels.

    If every label except `O` consists of a prefix B, I, E, S, L or U, a dash and a type, the labels follow BIO (IOB1,
    IOB2), BIOES or BILOU. Otherwise all labels are plain types, including labels such as `B-side`.

    Args:
        labels: label names of the model, ordered by id.
    """
    has_prefixes = all(_TAG.fullmatch(label) for label in labels if label != OUTSIDE)
    types: dict[str, int] = {}
    prefixes: list[str] = []
    type_of: list[int] = []
    for label in labels:
        prefix, kind = label.split("-", 1) if has_prefixes and label != OUTSIDE else ("", label)
        prefixes.append(prefix)
        type_of.append(-1 if label == OUTSIDE else types.setdefault(kind, len(types)))
    return LabelScheme(
        types=tuple(types),
        type_of=np.array(type_of, np.int64),
        begins=np.array([prefix in _BEGIN_PREFIXES for prefix in prefixes], np.bool_),
        ends=np.array([prefix in _END_PREFIXES for prefix in prefixes], np.bool_),
    )


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


def group_entities(labels: Sequence[str], label_set: Sequence[str] | None = None) -> list[tuple[str, int, int]]:
    """Join the labels of the words of one text to entities.

    Args:
        labels: the label of each word.
        label_set: all labels of the model, which determine the scheme (see `parse_label_scheme`). Without it, the
            scheme is determined from `labels`, which is wrong for plain labels if all of them look like `B-side`.

    Returns:
        Type, first word and last word (exclusive) of each entity.
    """
    names = list(dict.fromkeys(labels if label_set is None else label_set))
    scheme = parse_label_scheme(names)
    label_id = {name: i for i, name in enumerate(names)}
    label_W = np.array([label_id[label] for label in labels], np.int64)
    found = find_entities(label_W, np.ones(len(labels), np.float32), np.zeros(len(labels), np.int64), scheme)
    columns = (found.type.tolist(), found.first.tolist(), found.last.tolist())
    return [(scheme.types[kind], first, last + 1) for kind, first, last in zip(*columns, strict=True)]
