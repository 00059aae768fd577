"""Turn pydantic's errors into messages that contain the position, the value, the expected value and a suggestion."""

import re
from typing import Any, cast

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from jobs.job_file.job_kinds import KINDS, JobKind, kinds_at
from jobs.job_file.yaml_reader import Document, Key, describe_value, format_key, quote
from jobs.job_file.yaml_scalars import advise_notation
from pipelines.formatting import closest_name, excerpt


def add_messages(errors: list[ErrorDetails], document: Document, kind: JobKind) -> None:
    """Add a message for each of pydantic's errors to the document's problems."""
    found = [(error, _find_key(error, document.value)) for error in errors]
    # Of the errors on one line, unknown settings are reported first.
    found.sort(key=lambda pair: pair[0]["type"] != "extra_forbidden")
    unknown = [key for error, key in found if error["type"] == "extra_forbidden"]
    misspelled = {(*key[:-1], _find_similar_setting(key, kind)) for key in unknown}
    for error, key in found:
        position, context = document.find_position(key), error.get("ctx", {})
        match error["type"]:
            case "extra_forbidden":
                document.add_problem(position, f"{format_key(key)} is not a setting; {_suggest(key, kind)}")
            case "missing" if key in misspelled:
                pass  # already reported as the misspelled setting
            case "missing":
                document.add_problem(position, f"{format_key(key)} is missing: {_describe_setting(key, kind)}")
            case "value_error":
                document.add_problem(position, f"{format_key(key)}: {context['error']}")
            case "violations":
                for rest, message in context["found"]:
                    inner_key = (*key, *rest)
                    document.add_problem(document.find_position(inner_key), f"{format_key(inner_key)}: {message}")
            case _:
                text = position.text if key in document.positions else None
                document.add_problem(position, f"{format_key(key)}: {_describe_error(error, key, text, kind)}")


def _find_key(error: ErrorDetails, root: Any) -> Key:
    """Return the key of the value with an error: pydantic's location without the names of union branches."""
    key: list[str | int] = []
    value = root
    for i, step in enumerate(error["loc"]):
        exists = (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int))
        if exists:
            value = cast("Any", value)[step]
        if exists or (error["type"] == "missing" and i == len(error["loc"]) - 1):
            key.append(step)
    return tuple(key)


def _settings_at(key: Key, kind: JobKind) -> dict[str, FieldInfo]:
    """Return the settings that the mapping at a key may have."""
    settings = kind.settings_at(key)
    return settings.model_fields if settings else {}


def _find_similar_setting(key: Key, kind: JobKind) -> str | None:
    """Return the setting whose name is closest to one that does not exist; None if there is no close one."""
    return closest_name(str(key[-1]), _settings_at(key[:-1], kind))


def _suggest(key: Key, kind: JobKind) -> str:
    """Suggest what to write instead of a setting that does not exist."""
    for section, settings in kind.sections.items():
        if key[-1] in settings.model_fields:
            return f"did you mean {section}.{key[-1]}?"
    if similar := _find_similar_setting(key, kind):
        return f"did you mean {similar}?"
    return f"{format_key(key[:-1]) or 'a job'} has {', '.join(_settings_at(key[:-1], kind))}"


def _describe_setting(key: Key, kind: JobKind) -> str:
    """Return the description of a setting as the end of a sentence; an empty string for an item of a list."""
    setting = _settings_at(key[:-1], kind).get(str(key[-1]))
    text = ((setting and setting.description) or "").removesuffix(".")
    return text[:1].lower() + text[1:]


def _describe_error(error: ErrorDetails, key: Key, text: str | None, kind: JobKind) -> str:
    """Describe the value, the expected value and what to write.

    Args:
        error: one of pydantic's errors.
        key: the key of the value.
        text: the source text of the value, if it was written without quotes.
        kind: the kind of job file.
    """
    value, context = error["input"], error.get("ctx", {})
    got = f"got {describe_value(value, text)}"
    hint = f'; write "{text}" in quotes' if text and not isinstance(value, str) else ""
    notation = advise_notation(text) if text and isinstance(value, str) else ""
    match error["type"]:
        case "expected" if kinds_at(key):
            return _describe_kind_error(key, value, got, context["expected"])
        case "expected":
            return f"{got}, expected {context['expected']}{hint if context['text'] else ''}{notation}"
        case "string_type":
            return f"{got}, expected text{hint}"
        case "literal_error":
            choices: list[str] = re.findall("'([^']*)'", context["expected"])
            similar = closest_name(value, choices) if isinstance(value, str) else None
            return f"{got}, expected {_join_choices(choices)}" + (f"; did you mean {similar}?" if similar else "")
        case "int_type" | "float_type" | "bool_type" as type_:
            expected = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false"}[type_]
            is_quoted = isinstance(value, str) and text is None
            return f"{got}, expected {expected}" + (" without quotes" if is_quoted else notation)
        case "greater_than_equal":
            return f"{got}, expected at least {context['ge']:g}"
        case "greater_than":
            return f"{got}, expected more than {context['gt']:g}"
        case "less_than_equal":
            return f"{got}, expected at most {context['le']:g}"
        case "finite_number":
            return f"{got}, expected a finite number"
        case "too_short" | "string_too_short" | "string_pattern_mismatch":
            return f"{got}, expected {_describe_setting(key, kind) or 'a name'}"
        case "list_type":
            return f"{got}, expected a list, as in {key[-1]}: [{quote(value) if isinstance(value, str) else '…'}]"
        case "model_type":
            return f"{got}, expected a mapping with {', '.join(_settings_at(key, kind))}"
        case _:
            return f"{got}; {error['msg']}"


def _describe_kind_error(key: Key, value: Any, got: str, expected: str) -> str:
    """Describe an item of a list of tasks or objectives that is none of its kinds."""
    kinds, noun = KINDS[str(key[0])]
    a_noun = f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
    names = [str(name) for name in cast("dict[Any, Any]", value)] if isinstance(value, dict) else [value]
    if len(names) > 1 and names[0] in kinds:
        others = excerpt(", ".join(names[1:]))
        return f"{others} is at the same level as {names[0]}; indent {a_noun}'s settings below its name"
    if len(names) != 1 or not isinstance(names[0], str):
        return f"{got}, expected {expected}"
    similar = closest_name(names[0], kinds)
    hint = f"did you mean {similar}?" if similar else f"expected {expected}"
    return f"{excerpt(names[0])} is not {a_noun}; {hint}"


def _join_choices(choices: list[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
