"""Read a job from YAML, and say what is wrong with it in lines for a person.

Everything is checked before anything starts, and all that is wrong is said at once:

    job.yaml:7: tokenizer.max_lenght is not a setting; did you mean max_length?
    job.yaml:4: input.lang.fixed: got false (YAML reads no as false), expected text; write "no" in quotes
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.filters import nearest
from pipelines.job import SECTIONS, TASKS, Job, settings_at
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
    """A job that cannot be read; each argument is one problem, on one line."""

    def __str__(self) -> str:
        return "\n".join(self.args)


@dataclass(frozen=True)
class _Place:
    where: str  # job.yaml:7, or --set a.b
    order: int
    text: str | None = None  # a scalar written without quotes, as it stands


@dataclass
class _Document:
    """A YAML document as plain values, the place of each by its path, and what was wrong so far."""

    value: Any = None
    places: dict[Key, _Place] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def place(self, key: Key) -> _Place:
        """The place of a setting, or of the nearest group around it that was written."""
        return next(self.places[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.places)

    def problem(self, place: _Place, message: str) -> None:
        self.problems.append((place.order, f"{place.where}: {message}"))


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Read a job file.

    Args:
        path: a YAML file in UTF-8. Environment variables in it are not expanded.
        overrides: settings as `KEY=VALUE`, such as `batch.max_tokens=8192`, `input.keep=[a, b]` or
            `tasks.0.feature-extraction.pooling=max`; the values are YAML, and the last one of a key holds.

    Raises:
        SpecError: everything that is wrong, one line each.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:  # a null byte in the path, or bytes that are not UTF-8, are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise SpecError(_line(f"{path}: cannot be read ({reason}); give the path of a job in YAML")) from None
    document = _read(text, lambda line: _Place(f"{path}:{line}", line))
    if not isinstance(document.value, dict):
        needed = "input, model, tasks and output"
        raise SpecError(_line(f"{path}: got {_got(document.value)}, expected a mapping with {needed}"))
    document.places[()] = _Place(str(path), 0)
    for number, override in enumerate(overrides):
        _override(document, override, order=len(text) + number)
    job = None
    try:
        job = Job.model_validate(document.value)
    except ValidationError as error:
        _explain(error.errors(), document)
    if job is None or document.problems:
        lines = [message for _, message in sorted(document.problems, key=lambda problem: problem[0])]
        raise SpecError(*dict.fromkeys(map(_line, lines)))
    return job


def dump_job(job: Job) -> str:
    """Write a job as YAML, with all its defaults; it loads back to the same job."""
    # PyYAML writes Unicode's line breaks and the byte order mark as they are, and reads them back as something else
    readable = not re.search("[\x85\u2028\u2029\ufeff]", job.model_dump_json())
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=readable, width=4096)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job's YAML form, for editors and other programs.

    What concerns several settings at once (two columns of one name), and the filter's grammar, only `load_job` checks.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Job.model_json_schema()}


def _read(text: str, place: Callable[[int], _Place]) -> _Document:
    document = _Document()

    def refuse(node: yaml.Node, message: str) -> NoReturn:
        at = place(node.start_mark.line + 1)
        raise SpecError(_line(f"{at.where}: {message}"))

    def build(node: yaml.Node, key: Key, line: int) -> Any:
        plain = node.value if isinstance(node, yaml.ScalarNode) and node.style in (None, "") else None
        at = place(line)
        document.places[key] = _Place(at.where, at.order, plain)
        if len(key) > MAX_DEPTH:
            refuse(node, "nests too deep; a job is a few levels deep")
        if len(document.places) > MAX_NODES:
            refuse(node, f"more than {MAX_NODES} values; a job is a short file")
        if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT_SCALARS:
            return node.value
        if isinstance(node, yaml.ScalarNode) and node.tag in _READ_SCALARS:
            try:
                value = loader.construct_object(node)
            except (ValueError, LookupError):  # `!!int x`, or more digits than Python reads
                refuse(node, f"{_shown(node.value)} is not the number or word that its tag says; write it plainly")
            if isinstance(value, int) and value.bit_length() > 63:
                refuse(node, f"{_shown(node.value)} needs more than 64 bits; write a smaller number")
            return value
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [build(item, (*key, i), item.start_mark.line + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return build_mapping(node, key)
        return refuse(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write plain values")

    def build_mapping(node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        first_lines: dict[str, int] = {}
        result: dict[str, Any] = {}
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag not in _TEXT_SCALARS:
                what = _shown(name.value) if isinstance(name, yaml.ScalarNode) else "a list or mapping"
                message = f"{_dotted(key) or 'the job'} has a key that YAML does not read as text, {what}"
                document.problem(place(line), f"{message}; keys are names of settings")
                continue
            below = (*key, name.value)
            if name.value in result:
                message = f"{_dotted(below)} is given twice, first at line {first_lines[name.value]}"
                document.problem(place(line), f"{message}; remove one")
            first_lines.setdefault(name.value, line)
            result[name.value] = build(item, below, line)
        return result

    loader = Loader(text)
    try:
        root = loader.get_single_node()
        document.value = None if root is None else build(root, (), root.start_mark.line + 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        where = place(mark.line + 1).where if mark else place(1).where
        column = f" at column {mark.column + 1}" if mark else ""
        raise SpecError(_line(f"{where}: not YAML{column}: {reason}; quote texts that hold : # [ or {{")) from None
    except RecursionError:  # of PyYAML itself, which has no limit of its own without libyaml
        raise SpecError(f"{place(1).where}: nests too deep; a job is a few levels deep") from None
    finally:
        loader.dispose()
    return document


def _override(document: _Document, override: str, order: int) -> None:
    name, equals, text = override.partition("=")
    place = _Place(f"--set {name.strip()}", order)
    if not equals or not name.strip() or name.count(".") > 10:
        document.problem(place, "expected KEY=VALUE, such as output.path=/tmp/out")
        return
    key: list[str | int] = []
    try:
        given = _read(text, lambda line: place)
        document.value = _replace(document.value, name.strip().split("."), given.value, key)
    except SpecError as error:
        document.problems.append((order, str(error)))
    except _CannotSetError as error:
        document.problem(place, str(error))
    else:
        below = {(*key, *rest): at for rest, at in given.places.items()} or {tuple(key): place}
        around = {tuple(key[:n]): place for n in range(1, len(key))}  # for groups that were not there
        kept = {other: at for other, at in document.places.items() if other[: len(key)] != tuple(key)}
        document.places = around | kept | below
        document.problems += given.problems


class _CannotSetError(Exception):
    """An override whose key leads nowhere."""


def _replace(value: Any, names: list[str], new: Any, key: list[str | int]) -> Any:
    """Copy a tree with the value at `names` replaced; `key` collects the names, as numbers where they count items."""
    if not names:
        return new
    name, rest = names[0], names[1:]
    if len(key) == 2 and key[0] == "tasks":
        if isinstance(value, str) and value in TASKS:
            value = {value: None}
        kind = next(iter(cast("dict[str, Any]", value)), None) if isinstance(value, dict) else None
        if kind in TASKS and name not in value:
            raise _CannotSetError(f"{_dotted(key)} is {kind}; write {_dotted([*key, kind, name])}")
    if value is None:
        value = {}
    if isinstance(value, dict):
        group = cast("dict[str, Any]", value)
        key.append(name)
        return {**group, name: _replace(group.get(name), rest, new, key)}
    if isinstance(value, list):
        items = list(cast("list[Any]", value))
        if not re.fullmatch("[0-9]{1,9}", name) or int(name) >= len(items):
            raise _CannotSetError(f"{_dotted(key)} has no item {name}, only {len(items)}, counted from 0; set it whole")
        key.append(int(name))
        items[int(name)] = _replace(items[int(name)], rest, new, key)
        return items
    whole = f"--set '{_dotted(key)}={{{name}: …}}'"
    raise _CannotSetError(f"{_dotted(key)} is {_got(value)}, not a mapping; set it whole, as in {whole}")


def _explain(errors: list[ErrorDetails], document: _Document) -> None:
    """Turn pydantic's errors into the document's problems."""
    keys = [_key(error, document.value) for error in errors]
    meant: set[Key] = set()  # a misspelt setting is one problem, not also a missing one
    for error, key in zip(errors, keys, strict=True):
        if error["type"] == "extra_forbidden":
            hint, suggestion = _unknown(key)
            meant.add((*key[:-1], suggestion))
            document.problem(document.place(key), f"{_dotted(key)} is not a setting; {hint}")
    for error, key in zip(errors, keys, strict=True):
        place = document.place(key)
        if error["type"] == "missing":
            if key not in meant:
                document.problem(place, f"{_dotted(key)} is missing: {_description(key)}")
        elif error["type"] == "problems":
            for below, message in error.get("ctx", {})["found"]:
                document.problem(document.place((*key, *below)), f"{_dotted((*key, *below))}: {message}")
        elif error["type"] != "extra_forbidden":
            document.problem(
                place, f"{_dotted(key)}: {_wrong(error, key, place.text if key in document.places else None)}"
            )


def _key(error: ErrorDetails, root: Any) -> Key:
    """Where in the YAML an error lies: pydantic's location without the names of union branches."""
    key: list[str | int] = []
    value = root
    for i, step in enumerate(error["loc"]):
        inside = (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int))
        if inside:
            value = cast("Any", value)[step]
        if inside or (error["type"] == "missing" and i == len(error["loc"]) - 1):
            key.append(step)
    return tuple(key)


def _unknown(key: Key) -> tuple[str, str]:
    """Advise on a setting that does not exist; also the name that was probably meant, or nothing."""
    group, name = settings_at(key[:-1]), str(key[-1])
    known = list(group.model_fields) if group else []
    meant = nearest(name, known)
    if meant:
        return f"did you mean {meant}?", meant
    homes = [section for section, settings in SECTIONS.items() if name in settings.model_fields]
    if homes:
        return f"did you mean {homes[0]}.{name}?", ""
    return f"{_dotted(key[:-1]) or 'a job'} has {', '.join(known)}", ""


def _description(key: Key) -> str:
    group = settings_at(key[:-1])
    known = group.model_fields.get(str(key[-1])) if group else None
    text = ((known and known.description) or "").removesuffix(".")
    return text[:1].lower() + text[1:]


def _wrong(error: ErrorDetails, key: Key, text: str | None) -> str:
    """Say what was got against what was expected, and what to write."""
    value, context = error["input"], error.get("ctx", {})
    got = f"got {_got(value, text)}"
    quote = f'; write "{text}" in quotes' if text and not isinstance(value, str) else ""
    match error["type"]:
        case "expected" if len(key) == 2 and key[0] == "tasks":
            return _wrong_task(value, got, context["expected"])
        case "expected":
            return f"{got}, expected {context['expected']}{quote if context['text'] else ''}"
        case "string_type":
            return f"{got}, expected text{quote}"
        case "literal_error":
            choices: list[str] = re.findall("'([^']*)'", context["expected"])
            meant = nearest(value, choices) if isinstance(value, str) else None
            return f"{got}, expected {_or(choices)}" + (f"; did you mean {meant}?" if meant else "")
        case "int_type" | "int_from_float" | "float_type" | "bool_type":
            wanted = {"float_type": "a number", "bool_type": "true or false"}.get(error["type"], "a whole number")
            return f"{got}, expected {wanted}" + (" without quotes" if isinstance(value, str) and text is None else "")
        case "greater_than_equal":
            return f"{got}, expected at least {context['ge']:g}"
        case "less_than_equal":
            return f"{got}, expected at most {context['le']:g}"
        case "finite_number":
            return f"{got}, expected a finite number"
        case "too_short" | "string_too_short":
            return f"{got}, expected {_description(key) or 'a name'}"
        case "string_pattern_mismatch":
            return f"{got}, expected {_description(key)}"
        case "list_type":
            return f"{got}, expected a list, as in {key[-1]}: [{_shown(value) if isinstance(value, str) else '…'}]"
        case "model_type":
            group = settings_at(key)
            return f"{got}, expected a mapping with {', '.join(group.model_fields if group else ())}"
        case _:
            return f"{got}; {error['msg']}"


def _wrong_task(value: Any, got: str, expected: str) -> str:
    names = [str(name) for name in cast("dict[Any, Any]", value)] if isinstance(value, dict) else [value]
    if len(names) > 1 and names[0] in TASKS:
        return f"{', '.join(names[1:])} stands beside {names[0]}; indent a task's settings below its name"
    if len(names) != 1 or not isinstance(names[0], str):
        return f"{got}, expected {expected}"
    meant = nearest(names[0], TASKS)
    return f"{names[0]} is not a task; " + (f"did you mean {meant}?" if meant else f"expected {expected}")


def _got(value: Any, text: str | None = None) -> str:
    match value:
        case None:
            shown = "nothing"
        case str():
            return _shown(value)
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            shown = json.dumps(value)
    return f"{shown} (YAML reads {text} as {shown})" if text and text.lower() != shown else shown


def _shown(value: str) -> str:
    return json.dumps(value if len(value) <= 60 else value[:59] + "…", ensure_ascii=False)


def _or(choices: list[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)


def _dotted(key: Iterable[str | int]) -> str:
    return ".".join(map(str, key))


def _line(message: str) -> str:
    """Keep a message on one line, whatever stands in a key or a path."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(message.split()))
