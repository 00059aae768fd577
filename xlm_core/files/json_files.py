"""Files that hold one JSON object: configurations, vocabularies, indices of shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from xlm_core.files.regular_files import check_regular

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.errors import FatalError


def read_json_object(path: Path, error: type[FatalError], *, optional: bool = False) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        error: what is raised, whatever is wrong with it.
        optional: give an empty object where there is no such file.

    Raises:
        FatalError: as `error`; the file is not there, cannot be read, or is no JSON object.
    """
    try:
        check_regular(path)
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise error(f"{path.parent}: has no {path.name}; is this a checkpoint?") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from reason
    except (ValueError, RecursionError) as reason:  # bad JSON, bytes that are not UTF-8, endless numbers and nesting
        what = str(reason).partition(";")[0]  # Python's own advice follows
        raise error(f"{path}: not valid JSON: {what}; fetch the checkpoint again") from None
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}")
    return cast("dict[str, Any]", value)
