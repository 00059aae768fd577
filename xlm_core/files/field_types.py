"""Whether a value fits a field's annotation, for values that come from JSON."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin


def accepts(value: object, hint: Any) -> bool:
    """Tell whether a value fits a field's annotation; true and false are no numbers, an int is a float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(accepts(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(accepts(v, arguments[0]) for v in cast("list[object]", value))
    if origin is dict:
        return isinstance(value, dict) and all(
            accepts(k, arguments[0]) and accepts(v, arguments[1])
            for k, v in cast("dict[object, object]", value).items()
        )
    if hint is Any:
        return True
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint)


def spell(hint: Any) -> str:
    """Write an annotation as a person would: `int or null`."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(spell(argument) for argument in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(argument or '""' for argument in get_args(hint))
    if hint is NoneType:
        return "null"
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
