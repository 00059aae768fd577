"""Which words and numbers without quotes are text in YAML, and which are not.

PyYAML follows YAML 1.1, where `no` is false, `0512` is 330 and `1:30` is 90. Here the core schema of YAML 1.2 applies,
in which `no` and `1:30` are text. A number with leading zeros, such as `0512`, is text too, because the two versions of
YAML read it as different numbers.
"""

import re
from typing import Any, ClassVar

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader

TAG = "tag:yaml.org,2002:"

_SCALARS = {
    "null": (r"~|null|Null|NULL|", [*"~nN", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    "float": (
        r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
}
_PATTERNS = {TAG + kind: re.compile(f"(?:{pattern})\\Z") for kind, (pattern, _) in _SCALARS.items()}
PARSED_TAGS = _PATTERNS.keys()

# A text of digits without quotes that is not a number in both versions of YAML.
_ALMOST_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fA-FoOxX_:.]*")


class Loader(SafeLoader):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues]
    """Reads plain scalars by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class Dumper(yaml.SafeDumper):
    """Quotes texts that either version of YAML would not read as text."""


for _kind, (_, _first_chars) in _SCALARS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(TAG + _kind, _PATTERNS[TAG + _kind], _first_chars)


def parse_scalar(tag: str, text: str) -> bool | int | float | None:
    """Return the value of a scalar that is not text.

    Args:
        tag: of null, bool, int or float.
        text: as in the document.

    Raises:
        ValueError: the text is not one of this kind; it had an explicit tag, or has more digits than Python can parse.
    """
    kind = tag.removeprefix(TAG)
    if not _PATTERNS[tag].match(text) and not (kind == "float" and _PATTERNS[TAG + "int"].match(text)):
        raise ValueError(text)
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0)
        case _:
            return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)


def advise_notation(text: str) -> str:
    """Return advice for a text without quotes that was meant as a number; empty for other texts."""
    return "; write numbers in decimal digits, without leading zeros" if _ALMOST_NUMBER.fullmatch(text) else ""
