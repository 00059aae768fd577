"""Read YAML as plain values, and keep the place of each, so that what is wrong with one can be said with its line.

The values are those of YAML 1.2 as far as they are plain: text, numbers, booleans, null, lists, and mappings whose keys
are text, each given once.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from pipelines.formatting import one_line, truncate
from xlm_core.errors import FatalError

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as Loader

MAX_NODES = 100_000  # aliases to aliases can make a few lines unfold without end
MAX_DEPTH = 20

Key = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_READ_SCALARS = {_TAG + kind for kind in ("null", "bool", "int", "float")}
# as in YAML 1.2, which has no dates, no merge key `<<` and no default key `=`: all of them are text
_TEXT_SCALARS = {_TAG + kind for kind in ("str", "timestamp", "merge", "value")}


class SpecError(FatalError):
    """A job that cannot be read; each argument is one problem, on one line, whatever stands in a key or a path."""

    def __init__(self, *problems: str):
        super().__init__(*dict.fromkeys(map(one_line, problems)))

    def __str__(self) -> str:
        return "\n".join(self.args)


@dataclass(frozen=True)
class Place:
    """Where a value was written; `order` sorts places as a reader meets them."""

    where: str  # job.yaml:7, or --set a.b
    order: int
    text: str | None = None  # a scalar written without quotes, as it stands


@dataclass
class Document:
    """A YAML document as plain values, the place of each by its path, and what was wrong so far."""

    value: Any = None
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def place(self, key: Key) -> Place:
        """Find the place of a setting, or of the nearest group around it that was written."""
        return next(self.places[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.places)

    def add_problem(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        self.problems.append((place.order, f"{place.where}: {message}"))


def read_yaml(text: str, place: Callable[[int], Place]) -> Document:
    """Read a text.

    Args:
        text: one YAML document, or nothing.
        place: says where a line of it is, counted from 1.

    Returns:
        Its values; keys that are no text or stand twice are among its problems.

    Raises:
        SpecError: it cannot be read to its end.
    """
    loader = Loader(text)
    builder = _Builder(loader, place)
    try:
        root = loader.get_single_node()
        if root is not None:
            builder.document.value = builder.build(root, (), root.start_mark.line + 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        where = place(mark.line + 1 if mark else 1).where
        column = f" at column {mark.column + 1}" if mark else ""
        raise SpecError(f"{where}: not YAML{column}: {reason}; quote texts that hold : # [ or {{") from None
    except RecursionError:  # of PyYAML itself, which has no limit of its own without libyaml
        raise SpecError(f"{place(1).where}: nests too deep; a job is a few levels deep") from None
    finally:
        loader.dispose()
    return builder.document


class _Builder:
    def __init__(self, loader: Any, place: Callable[[int], Place]):
        self.loader = loader
        self.place = place
        self.document = Document()

    def build(self, node: yaml.Node, key: Key, line: int) -> Any:
        at = self.place(line)
        plain = node.value if isinstance(node, yaml.ScalarNode) and node.style in (None, "") else None
        self.document.places[key] = Place(at.where, at.order, plain)
        if len(key) > MAX_DEPTH:
            self.refuse(node, "nests too deep; a job is a few levels deep")
        if len(self.document.places) > MAX_NODES:
            self.refuse(node, f"more than {MAX_NODES} values; a job is a short file")
        if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT_SCALARS:
            return node.value
        if isinstance(node, yaml.ScalarNode) and node.tag in _READ_SCALARS:
            return self.build_scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*key, i), item.start_mark.line + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.build_mapping(node, key)
        return self.refuse(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write plain values")

    def build_scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (ValueError, LookupError):  # `!!int x`, or more digits than Python reads
            self.refuse(node, f"{quoted(node.value)} is not the number or word that its tag says; write it plainly")
        if isinstance(value, int) and value.bit_length() > 63:
            self.refuse(node, f"{quoted(node.value)} needs more than 64 bits; write a smaller number")
        return value

    def build_mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        first_lines: dict[str, int] = {}
        result: dict[str, Any] = {}
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag not in _TEXT_SCALARS:
                what = quoted(name.value) if isinstance(name, yaml.ScalarNode) else "a list or mapping"
                message = f"{dotted(key) or 'the job'} has a key that YAML does not read as text, {what}"
                self.document.add_problem(self.place(line), f"{message}; keys are names of settings")
                continue
            below = (*key, name.value)
            if name.value in result:
                message = f"{dotted(below)} is given twice, first at line {first_lines[name.value]}"
                self.document.add_problem(self.place(line), f"{message}; remove one")
            first_lines.setdefault(name.value, line)
            result[name.value] = self.build(item, below, line)
        return result

    def refuse(self, node: yaml.Node, message: str) -> NoReturn:
        raise SpecError(f"{self.place(node.start_mark.line + 1).where}: {message}")


def described(value: Any, text: str | None = None) -> str:
    """Say what a value is; `text` is how it was written, if that was without quotes."""
    match value:
        case None:
            shown = "nothing"
        case str():
            return quoted(value)
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            shown = json.dumps(value)
    return f"{shown} (YAML reads {text} as {shown})" if text and text.lower() != shown else shown


def quoted(text: str) -> str:
    """Write a text in quotes, cut where it is long."""
    return json.dumps(truncate(text, 60), ensure_ascii=False)


def dotted(key: Iterable[str | int]) -> str:
    """Write a key as `--set` takes it."""
    return ".".join(map(str, key))
