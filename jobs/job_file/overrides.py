"""Settings from the command line, `--set KEY=VALUE`, which go over those of the file."""

import re
from typing import Any, cast

from jobs.job_file.yaml_reader import Document, Key, Place, SpecError, described, dotted, read_yaml
from pipelines.tasks import TASKS


def override(document: Document, setting: str, order: int) -> None:
    """Put one setting into a document, or note why that cannot be.

    Args:
        document: its value is a mapping, and is changed in place.
        setting: as KEY=VALUE; the key is dotted, with numbers for items of lists, and the value is YAML.
        order: sorts what is wrong with the setting among other problems.
    """
    name, equals, text = setting.partition("=")
    place = Place(f"--set {name.strip()}", order)
    if not equals or not name.strip() or name.count(".") > 10:
        document.add_problem(place, "expected KEY=VALUE, such as output.path=/tmp/out")
        return
    try:
        given = read_yaml(text, lambda line: place)
        key = _put(document.value, name.strip().split("."), given.value, place)
    except SpecError as error:
        document.problems.append((order, str(error)))
        return
    around = {key[:n]: place for n in range(1, len(key))}  # for groups that were not there
    kept = {other: at for other, at in document.places.items() if other[: len(key)] != key}
    below = {(*key, *rest): at for rest, at in given.places.items()} or {key: place}
    document.places = around | kept | below
    document.problems += given.problems


def _put(group: Any, names: list[str], new: Any, place: Place) -> Key:
    """Set the value at `names`; the key that is returned has numbers where they count items."""
    key: Key = ()
    for name in names[:-1]:
        step = _step(group, name, key, place)
        key = (*key, step)
        group[step] = _opened(group.get(step) if isinstance(group, dict) else group[step], key)
        group = group[step]
    step = _step(group, names[-1], key, place)
    group[step] = new
    return (*key, step)


def _opened(value: Any, key: Key) -> Any:
    """What a value is when something is to be set in it: nothing, and a task's bare name, become mappings."""
    if value is None:
        return {}
    return {value: None} if _is_task(key) and isinstance(value, str) and value in TASKS else value


def _step(group: Any, name: str, key: Key, place: Place) -> str | int:
    """Read a name as what it means in a group; only items of lists have numbers."""
    if isinstance(group, list):
        items = cast("list[Any]", group)
        if re.fullmatch("[0-9]{1,9}", name) and int(name) < len(items):
            return int(name)
        problem = f"{dotted(key)} has no item {name}, only {len(items)}, counted from 0; set it whole"
    elif isinstance(group, dict):
        kind = next(iter(cast("dict[str, Any]", group)), None) if _is_task(key) else None
        if kind not in TASKS or name in group:
            return name
        problem = f"{dotted(key)} is {kind}; write {dotted([*key, kind, name])}"
    else:
        whole = f"--set '{dotted(key)}={{{name}: …}}'"
        problem = f"{dotted(key)} is {described(group)}, not a mapping; set it whole, as in {whole}"
    raise SpecError(f"{place.where}: {problem}")


def _is_task(key: Key) -> bool:
    return len(key) == 2 and key[0] == "tasks"
