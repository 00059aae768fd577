"""Read files with one JSON object: configurations, vocabularies, indices of shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from xlm_core.errors import format_value
from xlm_core.files.regular_files import check_regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.errors import FatalError


def read_json_object(path: Path, error: type[FatalError], *, optional: bool = False) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        error: the class of the exception to raise.
        optional: return an empty object if the file does not exist.

    Raises:
        FatalError: of class `error`; the file does not exist, cannot be read, or does not contain a JSON object.
    """
    try:
        check_regular_file(path)
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unambiguous)
    except FileNotFoundError:
        if optional:
            return {}
        raise error(f"{path.parent}: has no {path.name}; is this a checkpoint?") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from reason
    except (ValueError, RecursionError) as reason:  # invalid JSON or UTF-8, or too many digits or levels
        what = str(reason).partition(";")[0]  # without Python's advice on its limits
        raise error(f"{path}: not valid JSON: {what}; fetch the checkpoint again") from None
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Of a key that occurs twice, Python would keep one value without notice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        first: dict[str, Any] = {}
        for key, value in pairs:
            if first.setdefault(key, value) != value:
                raise ValueError(f"{format_value(key)} occurs twice, with different values")
    return found
