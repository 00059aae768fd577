"""Find phrases of `plain_english.toml` in comments, docstrings, messages and Markdown. Run by `make check`.

Usage: python -m tests.style.plain_english [FILE ...], by default all files under version control. In tests, strings
other than docstrings are test data and not checked.
"""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SUFFIXES = {".py", ".md", ".toml", ".yaml"}
NOT_CHECKED = {Path("tests/style/plain_english.toml")}
_PHRASES_FILE = Path(__file__).with_suffix(".toml")
_WORD_BEFORE = re.compile(r"[\w-]")
_QUOTES = re.compile(r"""^[a-zA-Z]*['"](?!['"]{2})|(?<!['"]{2})['"]$""")  # not the three of a docstring


class Finding(NamedTuple):
    path: Path
    line_number: int
    phrase: str
    replacement: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line_number}: "{self.phrase}"; write "{self.replacement}"'


def main() -> int:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [Path(name) for name in sys.argv[1:] or tracked]
    findings = [
        finding
        for path in paths
        if (path.suffix in SUFFIXES or path.name == "Makefile") and path not in NOT_CHECKED and path.exists()
        for finding in find_phrases(path, path.read_text(encoding="utf-8"))
    ]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def find_phrases(path: Path, text: str) -> Iterator[Finding]:
    prose = _prose_of_python(text, with_strings=path.parts[0] != "tests") if path.suffix == ".py" else text
    prose = prose.lower()
    for pattern, replacement in _load_phrases():
        for match in pattern.finditer(prose):
            if not _WORD_BEFORE.fullmatch(prose, max(match.start() - 1, 0), match.start()):
                line_number = prose.count("\n", 0, match.start()) + 1
                yield Finding(path, line_number, " ".join(match.group().strip('"').split()), replacement)


@cache
def _load_phrases() -> list[tuple[re.Pattern[str], str]]:
    # A pattern that begins with a literal is searched 20 times as fast as one with a lookbehind or without regard to
    # case, so the text is in lower case and the character before a match is checked separately.
    phrases: dict[str, str] = tomllib.loads(_PHRASES_FILE.read_text(encoding="utf-8"))["phrases"]
    words = {phrase.replace(" ", r"\s+"): replacement for phrase, replacement in phrases.items()}
    return [(re.compile(rf"(?:{phrase})(?![\w-])"), replacement) for phrase, replacement in words.items()]


def _prose_of_python(source: str, with_strings: bool) -> str:
    """Replace code with `|`, so that only comments and strings are left, each on its line.

    The marks of comments and the quotes of strings become spaces, so that a phrase is found across two of their lines.
    """
    lines = [re.sub(r"\S", "|", line) for line in source.splitlines(keepends=True)]
    before = tokenize.INDENT
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = before in {tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE} and token.string.endswith('"""')
        if token.type == tokenize.COMMENT:
            _show(lines, token.start, token.string.replace("#", " ", 1))
        elif token.type == tokenize.STRING and (with_strings or is_docstring):
            _show(lines, token.start, _QUOTES.sub(lambda quote: " " * len(quote.group()), token.string))
        if token.type not in {tokenize.NL, tokenize.COMMENT}:
            before = token.type
    return "".join(lines)


def _show(lines: list[str], start: tuple[int, int], text: str) -> None:
    row, column = start
    for number, part in enumerate(text.splitlines(keepends=True), row - 1):
        lines[number] = lines[number][:column] + part + lines[number][column + len(part) :]
        column = 0


if __name__ == "__main__":
    sys.exit(main())
