"""Label schemes: what the labels of a model say about the entity that contains a word.

| scheme | prefixes |
|---|---|
| BIO | B begins an entity, I continues it (IOB2); in IOB1, B only separates adjacent entities |
| BIOES | also E for the last word, S for a single word |
| BILOU | also L for the last word, U for a single word |
| BMES, BMEWO | as BIOES, with M for I, and W for S |

Letters: C labels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xlm_core.errors import FatalError, check_choice, format_list, format_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SchemeName = Literal["auto", "bio", "bioes", "bilou", "bmes", "bmewo", "plain"]

OUTSIDE = "O"  # the label of a word outside of entities

_PREFIXES = {
    "bio": set("BI"),
    "bioes": set("BIES"),
    "bilou": set("BILU"),
    "bmes": set("BMES"),
    "bmewo": set("BMEW"),
}
_BEGIN, _END = set("BSUW"), set("ESLUW")  # no letter has two meanings
_TAG = re.compile(r"([BIMESLUW])[-_](.+)", re.DOTALL | re.IGNORECASE)
# Tags in a form that is not read, such as `PER-B` or `B:PER`.
_OTHER_TAG = re.compile(r"([BI])[\W_]+(.+)|(.+)[\W_]+([BI])", re.DOTALL | re.IGNORECASE)
# Labels of padding, of special tokens and of subwords after the first, which a model has for its training only.
_MARKER = re.compile(r"\[.*\]|<.*>", re.DOTALL)
_BARE_MARKERS = {
    *("", "_", "-", "0", "X", "PAD", "CLS", "SEP", "UNK", "MASK", "BOS", "EOS", "START", "STOP"),
    *("IGNORE", "NONE", "NULL", "OUT", "OUTSIDE"),
}
_NO_TYPE = "_"  # the type of labels that are a prefix only, as in seqeval
_MAX_LISTED = 5


class LabelScheme(NamedTuple):
    """The meaning of each label of a model for the entity that contains the word.

    Attributes:
        name: the scheme, such as `BIO`, or `plain`: each label is a type.
        types: entity types, in the order of the labels.
        type_of: int64 [C], index in `types` of each label's type; -1 for words outside of entities.
        begins: bool [C], whether the word always begins a new entity.
        ends: bool [C], whether the word always ends its entity.
        ignored: labels other than `O` that are read as outside of entities.
        doubts: why the labels may have another meaning; empty if they are clear.
    """

    name: str
    types: tuple[str, ...]
    type_of: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    ignored: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe how the labels are read, as in `BIO: 4 entity types; ignored: [CLS], X`."""
        types = f"{len(self.types)} entity {'type' if len(self.types) == 1 else 'types'}"
        ignored = f"; ignored: {_format_labels(self.ignored)}" if self.ignored else ""
        return f"{self.name}: {types}{ignored}"


class _Label(NamedTuple):
    """A label, split into its prefix (upper case, empty if it has none) and its type (None outside of entities)."""

    prefix: str
    type: str | None


def parse_label_scheme(labels: Sequence[str], scheme: SchemeName = "auto") -> LabelScheme:
    """Find the scheme of a model's labels, or read them by a given one.

    `auto` accepts tags in lower case (`b-per`) or with an underscore (`B_PER`), and bare prefixes (`B`, `M`, `E`, `S`),
    as far as the set of all labels shows that they are tags: a type has several prefixes, or all labels are tags.
    Labels of padding and special tokens, such as `[CLS]` or `X`, are read as outside of entities.

    Args:
        labels: label names of the model, ordered by id.
        scheme: `auto`, or the scheme.

    Raises:
        FatalError: the labels do not fit the given scheme; the message lists them.
        ValueError: there is no such scheme.
    """
    check_choice("scheme", scheme, SchemeName)
    if scheme == "plain":
        return _build("plain", [_Label("", None if label == OUTSIDE else label) for label in labels], labels)
    split = [_split(label) for label in labels]
    if scheme != "auto":
        _check_fit(labels, split, scheme)
        return _build(scheme.upper(), split, labels)
    if not _are_tags(labels, split):
        return _parse_plain(labels, split)
    prefixes = {label.prefix for label in split if label.prefix}
    name = next((name for name, known in _PREFIXES.items() if prefixes <= known), None)
    doubts: list[str] = []
    if name is None:
        doubts.append(f"their prefixes {', '.join(sorted(prefixes))} are of different schemes")
    bare = [text for text, label in zip(labels, split, strict=True) if not label.prefix and label.type is not None]
    if bare:
        doubts.append(f"labels without a prefix are read as types of their own: {_format_labels(bare)}")
    return _build(name.upper() if name else "mixed", split, labels, doubts)


def _split(label: str) -> _Label:
    """Split a label of a set that contains tags."""
    if match := _TAG.fullmatch(label):
        return _Label(match[1].upper(), match[2])
    if len(label) == 1 and label in _BEGIN | _END | {"I", "M"}:
        return _Label(label, _NO_TYPE)
    is_outside = label.upper() == OUTSIDE or label.upper() in _BARE_MARKERS or _MARKER.fullmatch(label)
    return _Label("", None if is_outside else label)


def _are_tags(labels: Sequence[str], split: Sequence[_Label]) -> bool:
    """Whether a set of labels shows that those with a prefix are tags."""
    prefixes_of_type: dict[str | None, set[str]] = {}
    for label in split:
        if label.prefix:
            prefixes_of_type.setdefault(label.type, set()).add(label.prefix)
    bare_prefixes = prefixes_of_type.pop(_NO_TYPE, set())
    if any(len(prefixes) > 1 and not prefixes.isdisjoint("BI") for prefixes in prefixes_of_type.values()):
        return True
    if not all(label.prefix or label.type is None for label in split):
        return False
    if bare_prefixes:  # B, I, O for chunks, or B, M, E, S for words: labels without types
        return len(bare_prefixes) > 1 and "B" in bare_prefixes
    are_usual = all(
        label.type is None or text.startswith(f"{label.prefix}-") for text, label in zip(labels, split, strict=True)
    )
    return are_usual and any(not prefixes.isdisjoint("BI") for prefixes in prefixes_of_type.values())


def _parse_plain(labels: Sequence[str], split: Sequence[_Label]) -> LabelScheme:
    plain = [_Label("", None if text == OUTSIDE or _MARKER.fullmatch(text) else text) for text in labels]
    tags = [text for text, label in zip(labels, split, strict=True) if label.prefix in ("B", "I") and len(text) > 1]
    doubts = [f"only some labels look like tags: {_format_labels(tags)}"] if len(tags) > 1 else []
    if other := _find_other_tags(labels):
        doubts.append(f"labels look like tags in another form than B-PER: {_format_labels(other)}")
    return _build("plain", plain, labels, doubts)


def _find_other_tags(labels: Sequence[str]) -> list[str]:
    """Return the labels of the types that have both B and I."""
    by_type: dict[str, dict[str, str]] = {}
    for label in labels:
        if (match := _OTHER_TAG.fullmatch(label)) and not _TAG.fullmatch(label):
            by_type.setdefault(match[2] or match[3], {})[(match[1] or match[4]).upper()] = label
    return [label for tags in by_type.values() if len(tags) > 1 for label in tags.values()]


def _check_fit(labels: Sequence[str], split: Sequence[_Label], scheme: SchemeName) -> None:
    prefixes = _PREFIXES[scheme]
    wrong = [
        text
        for text, label in zip(labels, split, strict=True)
        if label.type is not None and label.prefix not in prefixes
    ]
    if wrong:
        raise FatalError(
            f"scheme {scheme}: expected {OUTSIDE} and labels that begin with {', '.join(sorted(prefixes))}, got"
            f" {_format_labels(wrong)}; set another scheme or auto, or rename the labels in id2label of the head's"
            " config.json"
        )


def _build(name: str, split: Sequence[_Label], labels: Sequence[str], doubts: Sequence[str] = ()) -> LabelScheme:
    types: dict[str, int] = {}
    return LabelScheme(
        name,
        type_of=np.array(
            [-1 if label.type is None else types.setdefault(label.type, len(types)) for label in split], np.int64
        ),
        begins=np.array([label.prefix in _BEGIN for label in split], np.bool_),
        ends=np.array([label.prefix in _END for label in split], np.bool_),
        types=tuple(types),
        ignored=tuple(
            text for text, label in zip(labels, split, strict=True) if label.type is None and text.upper() != OUTSIDE
        ),
        doubts=tuple(doubts),
    )


def _format_labels(labels: Sequence[str]) -> str:
    printable = [label if label.isprintable() and label.strip() else format_value(label) for label in labels]
    return format_list([label[:50] for label in printable], _MAX_LISTED)
