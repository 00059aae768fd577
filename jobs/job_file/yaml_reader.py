"""Read YAML as plain values with their line numbers, which error messages contain.

The values are the plain ones of YAML 1.2: text, numbers, booleans, null, lists, and mappings with unique text keys.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from jobs.job_file.yaml_scalars import PARSED_TAGS, TAG, Loader, parse_scalar
from pipelines.formatting import one_line, truncate
from xlm_core.errors import FatalError

MAX_NODES = 100_000  # nested aliases can expand a few lines to any number of values
MAX_DEPTH = 20
_TOO_DEEP = "nested too deeply; job files have only a few levels"

Key = tuple[str | int, ...]

_STR = TAG + "str"


class JobFileError(FatalError):
    """A job file or override is not valid. Each argument is one problem, on one line: line breaks are escaped."""

    def __init__(self, *problems: str):
        super().__init__(*dict.fromkeys(map(one_line, problems)))

    def __str__(self) -> str:
        return "\n".join(self.args)


@dataclass(frozen=True)
class SourcePosition:
    """Where a value was written.

    Attributes:
        where: for messages, such as `job.yaml:7` or `--set a.b`.
        order: problems are reported in this order, first those of the file, then those of the overrides.
        text: the source text of a scalar without quotes.
    """

    where: str
    order: int
    text: str | None = None


@dataclass
class Document:
    """A YAML document.

    Attributes:
        value: plain Python values.
        positions: the position of each value, by its key.
        problems: order and message of each problem found so far.
    """

    value: Any = None
    positions: dict[Key, SourcePosition] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def find_position(self, key: Key) -> SourcePosition:
        """Return the position of a setting. If it was not written, return that of the innermost group around it."""
        return next(self.positions[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.positions)

    def add_problem(self, position: SourcePosition, message: str) -> None:
        """Add a problem with the value at a position."""
        self.problems.append((position.order, f"{position.where}: {message}"))


def read_yaml(text: str, position_of_line: Callable[[int], SourcePosition]) -> Document:
    """Parse a YAML document.

    Args:
        text: one YAML document, or nothing.
        position_of_line: returns the position of a line; lines are counted from 1.

    Returns:
        The document. Keys that are not text and duplicate keys are among its problems.

    Raises:
        JobFileError: the text cannot be parsed to its end, or contains values that a job file cannot have.
    """
    loader = Loader(text)
    builder = _Builder(position_of_line)
    try:
        root = loader.get_single_node()
        if root is not None:
            builder.document.value = builder.build(root, (), root.start_mark.line + 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        where = position_of_line(mark.line + 1 if mark else 1).where
        column = f" at column {mark.column + 1}" if mark else ""
        is_tab = mark is not None and text[mark.index : mark.index + 1] == "\t"
        hint = "indent with spaces, not tabs" if is_tab else "quote texts that contain : # [ or {"
        raise JobFileError(f"{where}: not YAML{column}: {reason}; {hint}") from None
    except RecursionError:  # raised by PyYAML without libyaml, which does not limit the depth
        raise JobFileError(f"{position_of_line(1).where}: {_TOO_DEEP}") from None
    finally:
        loader.dispose()
    return builder.document


class _Builder:
    def __init__(self, position_of_line: Callable[[int], SourcePosition]):
        self.position_of_line = position_of_line
        self.document = Document()

    def build(self, node: yaml.Node, key: Key, line: int) -> Any:
        position = self.position_of_line(line)
        unquoted = node.value if isinstance(node, yaml.ScalarNode) and node.style in (None, "") else None
        self.document.positions[key] = SourcePosition(position.where, position.order, unquoted)
        if len(key) > MAX_DEPTH:
            self.reject(node, _TOO_DEEP)
        if len(self.document.positions) > MAX_NODES:
            self.reject(node, f"more than {MAX_NODES} values; job files are short, look for nested aliases")
        if isinstance(node, yaml.ScalarNode) and node.tag == _STR:
            return node.value
        if isinstance(node, yaml.ScalarNode) and node.tag in PARSED_TAGS:
            return self.build_scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return [self.build(item, (*key, i), item.start_mark.line + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return self.build_mapping(node, key)
        return self.reject(node, f"the tag {node.tag.replace(TAG, '!!')} is not supported; write plain values")

    def build_scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            value = parse_scalar(node.tag, node.value)
        except ValueError:  # `!!int x`, or more digits than Python can parse
            kind = node.tag.removeprefix(TAG)
            self.reject(node, f"{quote(node.value)} cannot be read as {kind}; write a plain value")
        if isinstance(value, int) and value.bit_length() > 63:
            self.reject(node, f"{quote(node.value)} does not fit in a signed 64-bit integer; write a smaller number")
        return value

    def build_mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        first_lines: dict[str, int] = {}
        result: dict[str, Any] = {}
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag != _STR:
                what = quote(name.value) if isinstance(name, yaml.ScalarNode) else "a list or mapping"
                message = f"{format_key(key) or 'the job'} has a key that YAML does not read as text, {what}"
                self.document.add_problem(self.position_of_line(line), f"{message}; keys are names of settings")
                continue
            item_key = (*key, name.value)
            if name.value in result:
                message = f"{format_key(item_key)} is given twice, first at line {first_lines[name.value]}"
                self.document.add_problem(self.position_of_line(line), f"{message}; remove one")
            first_lines.setdefault(name.value, line)
            result[name.value] = self.build(item, item_key, line)
        return result

    def reject(self, node: yaml.Node, message: str) -> NoReturn:
        raise JobFileError(f"{self.position_of_line(node.start_mark.line + 1).where}: {message}")


def describe_value(value: Any, text: str | None = None) -> str:
    """Describe a value for messages.

    Args:
        value: a plain value.
        text: its source text, if it was written without quotes.
    """
    match value:
        case None:
            shown = "nothing"
        case str():
            return quote(value)
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            shown = json.dumps(value)
    return f"{shown} (YAML reads {text} as {shown})" if text and text.lower() != shown else shown


def quote(text: str) -> str:
    """Put a text in quotes. Long texts are truncated."""
    return json.dumps(truncate(text, 60), ensure_ascii=False)


def format_key(key: Iterable[str | int]) -> str:
    """Format a key with dots, as `--set` accepts it."""
    return ".".join(map(str, key))
