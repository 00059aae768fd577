"""Read the code of a Markdown document."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
READMES = [
    "README.md",
    "jobs/README.md",
    "jobs/TRAINING.md",
    "infra/README.md",
    "xlm_core/README.md",
    "examples/README.md",
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_NEEDS = re.compile(r"# needs: .+\n")


class Block(NamedTuple):
    """A block of code between fences.

    Attributes:
        language: as printed after the fence: bash, python, yaml, or text for what is not run.
        code: its lines.
        line: the number of its first line in the document.
    """

    language: str
    code: str
    line: int

    @property
    def is_run(self) -> bool:
        """Whether a test runs the block: unless its first line is a comment with what it needs besides this project."""
        return self.language in ("bash", "python") and not _NEEDS.match(self.code)

    @property
    def commands(self) -> list[str]:
        """The commands of a block of bash: lines without comments, joined where they end with a backslash."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document: str) -> list[Block]:
    text = read(document)
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _FENCE.finditer(text)]


def prose(document: str) -> str:
    """Return a document without its blocks of code."""
    return _FENCE.sub("", read(document))


def inline_commands(document: str) -> list[str]:
    """Return the `xlm` commands in the prose of a document."""
    text = re.sub(r"\n(?!\n)", " ", prose(document))
    return [code for code in _INLINE.findall(text) if code.startswith("xlm ")]
