"""Write manifests as YAML that every parser reads as the same values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

# What no version of YAML reads as anything but text. Parsers differ in what else is a number, a date or a boolean.
_PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null|inf|nan)$)[A-Za-z/][A-Za-z0-9 ./_-]*(?<! )", re.IGNORECASE
)

# Characters that literal blocks of PyYAML do not preserve.
_NOT_LITERAL = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Dumper(yaml.SafeDumper):
    """Writes every object in full, without references between them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write a text plain, quoted, or as a literal block if it has several lines."""
        if _PLAIN.fullmatch(text):
            style = None
        elif "\n" in text and not _NOT_LITERAL.search(text):
            style = "|"
        else:
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def dump_manifests(manifests: Sequence[dict[str, Any]]) -> str:
    """Write manifests as the documents of one YAML file."""
    documents = [
        yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096) for manifest in manifests
    ]
    return "---\n".join(documents)
