"""What pydantic finds wrong with a job, in lines for a person: where it stands, what was got, and what to write."""

import re
from typing import Any, cast

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from jobs.job_file.yaml_reader import Document, Key, described, dotted, quoted
from pipelines.formatting import closest_name, excerpt
from pipelines.job import SECTION_SETTINGS, settings_class_at
from pipelines.tasks import TASKS


def explain(errors: list[ErrorDetails], document: Document) -> None:
    """Turn pydantic's errors into the document's problems."""
    found = [(error, _key(error, document.value)) for error in errors]
    found.sort(key=lambda pair: pair[0]["type"] != "extra_forbidden")  # of one line, first what should not be there
    misspelt = {(*key[:-1], _meant(key)) for error, key in found if error["type"] == "extra_forbidden"}
    for error, key in found:
        place, context = document.place(key), error.get("ctx", {})
        match error["type"]:
            case "extra_forbidden":
                document.add_problem(place, f"{dotted(key)} is not a setting; {_advise(key)}")
            case "missing" if key in misspelt:
                pass  # one problem, not two
            case "missing":
                document.add_problem(place, f"{dotted(key)} is missing: {_description(key)}")
            case "value_error":
                document.add_problem(place, f"{dotted(key)}: {context['error']}")
            case "violations":
                for rest, message in context["found"]:
                    below = (*key, *rest)
                    document.add_problem(document.place(below), f"{dotted(below)}: {message}")
            case _:
                text = place.text if key in document.places else None
                document.add_problem(place, f"{dotted(key)}: {_wrong(error, key, text)}")


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


def _fields(key: Key) -> dict[str, FieldInfo]:
    """The settings of the group at a key."""
    group = settings_class_at(key)
    return group.model_fields if group else {}


def _meant(key: Key) -> str | None:
    """The setting that was probably meant by one that does not exist."""
    return closest_name(str(key[-1]), _fields(key[:-1]))


def _advise(key: Key) -> str:
    """Say what to write instead of a setting that does not exist."""
    for section, settings in SECTION_SETTINGS.items():
        if key[-1] in settings.model_fields:
            return f"did you mean {section}.{key[-1]}?"
    if meant := _meant(key):
        return f"did you mean {meant}?"
    return f"{dotted(key[:-1]) or 'a job'} has {', '.join(_fields(key[:-1]))}"


def _description(key: Key) -> str:
    """What a setting is, as the end of a sentence; nothing for an item of a list."""
    known = _fields(key[:-1]).get(str(key[-1]))
    text = ((known and known.description) or "").removesuffix(".")
    return text[:1].lower() + text[1:]


def _wrong(error: ErrorDetails, key: Key, text: str | None) -> str:
    """Say what was got against what was expected, and what to write."""
    value, context = error["input"], error.get("ctx", {})
    got = f"got {described(value, text)}"
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
            meant = closest_name(value, choices) if isinstance(value, str) else None
            return f"{got}, expected {_or(choices)}" + (f"; did you mean {meant}?" if meant else "")
        case "int_type" | "float_type" | "bool_type" as kind:
            wanted = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false"}[kind]
            return f"{got}, expected {wanted}" + (" without quotes" if isinstance(value, str) and text is None else "")
        case "greater_than_equal":
            return f"{got}, expected at least {context['ge']:g}"
        case "greater_than":
            return f"{got}, expected more than {context['gt']:g}"
        case "less_than_equal":
            return f"{got}, expected at most {context['le']:g}"
        case "finite_number":
            return f"{got}, expected a finite number"
        case "too_short" | "string_too_short" | "string_pattern_mismatch":
            return f"{got}, expected {_description(key) or 'a name'}"
        case "list_type":
            return f"{got}, expected a list, as in {key[-1]}: [{quoted(value) if isinstance(value, str) else '…'}]"
        case "model_type":
            return f"{got}, expected a mapping with {', '.join(_fields(key))}"
        case _:
            return f"{got}; {error['msg']}"


def _wrong_task(value: Any, got: str, expected: str) -> str:
    names = [str(name) for name in cast("dict[Any, Any]", value)] if isinstance(value, dict) else [value]
    if len(names) > 1 and names[0] in TASKS:
        return f"{excerpt(', '.join(names[1:]))} stands beside {names[0]}; indent a task's settings below its name"
    if len(names) != 1 or not isinstance(names[0], str):
        return f"{got}, expected {expected}"
    meant = closest_name(names[0], TASKS)
    return f"{excerpt(names[0])} is not a task; " + (
        f"did you mean {meant}?" if meant else f"expected {expected}"
    )


def _or(choices: list[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
