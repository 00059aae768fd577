"""Translate the content of a `config.json` into the fields of `XLMConfig`: aliases, string keys, label counts."""

import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from xlm_core.errors import FatalError, format_value

MODEL_TYPE = "xlm"

# Other names of a field in published checkpoints. The files of 2019 have only the *_index names and n_words.
ALIASES = {
    "hidden_size": "emb_dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "n_words": "vocab_size",
    "bos_index": "bos_token_id",
    "eos_index": "eos_token_id",
    "pad_index": "pad_token_id",
}
INT_KEYED_FIELDS = ("id2label", "id2lang")  # JSON has string keys only
_NULL_MEANS_ABSENT = ("id2label", "label2id", "num_labels")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # int() also accepts " 1", "01" and "1_0"
_MAX_UNNAMED_LABELS = 100_000  # far above any real use; without a limit, one number in a file could fill the memory


def fields_from_json(values: Mapping[str, Any], field_names: Collection[str]) -> dict[str, Any]:
    """Resolve aliases, label counts and string keys in the content of a `config.json`.

    Args:
        values: the content of the file.
        field_names: the fields of the configuration, without `extra`.

    Returns:
        Values by field name. Keys that belong to no field are under `extra`. Types are not checked.

    Raises:
        FatalError: another `model_type`, two names of one field with different values, keys that are not integers, or
            a `num_labels` that is not a count or does not match `id2label`.
    """
    values = {k: v for k, v in values.items() if not (k in _NULL_MEANS_ABSENT and v is None)}
    model_type = values.pop("model_type", MODEL_TYPE)
    if model_type != MODEL_TYPE:
        raise field_error("model_type", model_type, f"{MODEL_TYPE!r}; this is a checkpoint of another family")
    found: dict[str, Any] = {name: values[name] for name in values if name in field_names}
    for alias, name in ALIASES.items():
        if alias in values and found.setdefault(name, values[alias]) != values[alias]:
            raise field_error(alias, values[alias], f"{format_value(found[name])}, the value of {name}")
    for name in INT_KEYED_FIELDS:
        if found.get(name) is not None:
            found[name] = _with_int_keys(name, found[name])
    if "num_labels" in values:
        found["id2label"] = _labels(values["num_labels"], found.get("id2label"))
    extra = {k: v for k, v in values.items() if k not in {*field_names, *ALIASES, "num_labels"}}
    return found | {"extra": extra}


def default_labels(num_labels: int) -> dict[int, str]:
    """Name labels as the reference does: LABEL_0, LABEL_1 …"""
    return {i: f"LABEL_{i}" for i in range(num_labels)}


def field_error(name: str, got: object, expected: str) -> FatalError:
    """Build the error for a field of the configuration."""
    return FatalError(f"configuration field {name}: got {format_value(got)}, expected {expected}")


def _labels(num_labels: object, id2label: object) -> object:
    """Return `id2label`, or default names if there is none; check it against the stated number of labels."""
    if type(num_labels) is not int or num_labels < 0:
        raise field_error("num_labels", num_labels, "an integer of at least 0")
    if id2label is None:
        if num_labels > _MAX_UNNAMED_LABELS:
            raise field_error("num_labels", num_labels, f"at most {_MAX_UNNAMED_LABELS} without id2label")
        return default_labels(num_labels)
    if isinstance(id2label, dict) and (num_named := len(cast("dict[Any, Any]", id2label))) != num_labels:
        raise field_error("num_labels", num_labels, f"{num_named}, the number of labels in id2label")
    return id2label


def _with_int_keys(name: str, mapping: object) -> object:
    """Convert string keys to integers. A value that is not a mapping is returned for the type check to refuse."""
    if not isinstance(mapping, Mapping):
        return mapping
    given = cast("Mapping[Any, Any]", mapping)
    numbers = [int(key) for key in given if _INTEGER.fullmatch(str(key))]
    if len(set(numbers)) < len(given):
        raise field_error(name, mapping, "integer keys, each once")
    return dict(zip(numbers, given.values(), strict=True))
