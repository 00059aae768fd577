"""Apply settings from the command line, `--set KEY=VALUE`, to a job file. They replace those of the file."""

import re
from typing import Any, cast

from jobs.job_file.job_kinds import kinds_at
from jobs.job_file.yaml_reader import Document, JobFileError, Key, SourcePosition, describe_value, format_key, read_yaml

_MAX_DOTS = 10  # in a key


def apply_override(document: Document, setting: str, order: int) -> None:
    """Set one value in a document. If this is not possible, add the reason to the document's problems.

    Args:
        document: its value is a mapping, which is changed in place.
        setting: KEY=VALUE. The key is dotted, with numbers for items of lists; the value is YAML.
        order: the order of the setting's problems among those of the document.
    """
    name, equals, text = setting.partition("=")
    position = SourcePosition(f"--set {name.strip()}", order)
    if not equals or not name.strip() or name.count(".") > _MAX_DOTS:
        document.add_problem(position, "expected KEY=VALUE, such as output.path=/tmp/out")
        return
    try:
        new = read_yaml(text, lambda line: position)
        key = _set_value(document.value, name.strip().split("."), new.value, position)
    except JobFileError as error:
        document.problems.append((order, str(error)))
        return
    parents = {key[:n]: position for n in range(1, len(key))}  # for mappings that the file does not have
    unchanged = {other: at for other, at in document.positions.items() if other[: len(key)] != key}
    children = {(*key, *rest): at for rest, at in new.positions.items()} or {key: position}
    document.positions = parents | unchanged | children
    document.problems += new.problems


def _set_value(root: Any, names: list[str], value: Any, position: SourcePosition) -> Key:
    """Set the value at `names`, and return them as a key, in which items of lists have integers."""
    group = root
    key: Key = ()
    for name in names[:-1]:
        step = _find_step(group, name, key, position)
        key = (*key, step)
        group[step] = _to_mapping(group.get(step) if isinstance(group, dict) else group[step], key)
        group = group[step]
    step = _find_step(group, names[-1], key, position)
    group[step] = value
    return (*key, step)


def _to_mapping(value: Any, key: Key) -> Any:
    """Return an empty mapping for null, and a mapping without settings for a task's name. Keep other values."""
    if value is None:
        return {}
    return {value: None} if isinstance(value, str) and value in kinds_at(key) else value


def _find_step(group: Any, name: str, key: Key, position: SourcePosition) -> str | int:
    """Return the key of a mapping or the index of a list that `name` selects in the value at `key`.

    Raises:
        JobFileError: there is no such item.
    """
    if isinstance(group, list):
        items = cast("list[Any]", group)
        if re.fullmatch("[0-9]{1,9}", name) and int(name) < len(items):
            return int(name)
        problem = f"{format_key(key)} has no item {name}, only {len(items)}, counted from 0; set the whole list"
    elif isinstance(group, dict):
        kind = next(iter(cast("dict[str, Any]", group)), "")
        if kind not in kinds_at(key) or name in group:
            return name
        problem = f"{format_key(key)} is {kind}; write {format_key([*key, kind, name])}"
    else:
        example = f"--set '{format_key(key)}={{{name}: …}}'"
        problem = f"{format_key(key)} is {describe_value(group)}, not a mapping; set all of it, as in {example}"
    raise JobFileError(f"{position.where}: {problem}")
