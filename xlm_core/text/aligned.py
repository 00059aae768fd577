"""Rewrite a text and keep the alignment of its characters with the original text.

Every rule that rewrites a text (punctuation, deletions, inserted spaces) uses `AlignedText`. The characters of a token
in the result can therefore be mapped to characters of the original. A rule that does not match costs one search.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class AlignedText:
    """A rewritten text and, for each of its characters, the span of the original text that it corresponds to.

    Spans are monotone: starts and ends never decrease. Inserted characters have an empty span. Characters of a
    replacement share the span of all characters that were replaced.
    """

    __slots__ = ("_ends", "_starts", "text")

    def __init__(self, text: str):
        self.text = text
        self._starts: list[int] | None = None  # None: no character has moved, character i has the span [i, i + 1)
        self._ends: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Map the characters `[start, end)` of the current text to a span of the original text."""
        if self._starts is None or self._ends is None:
            return start, end
        if start < end:
            return self._starts[start], self._ends[end - 1]
        point = self._starts[start] if start < len(self._starts) else (self._ends[-1] if self._ends else 0)
        return point, max(point, self._ends[start - 1] if start else 0)

    @property
    def has_moved(self) -> bool:
        """Whether any character may have another offset than in the original text."""
        return self._starts is not None

    def translate(self, table: Mapping[int, int | str]) -> None:
        """Replace single characters by single characters, which does not change offsets."""
        self.text = self.text.translate(table)

    def sub(self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> None:
        """Apply `pattern.sub(replacement, text)`. A replacement that is a string may refer to groups as `\\g<1>`.

        Characters that a match and its replacement have in common at the beginning or the end keep their own spans.
        Each new character between them gets the span of all replaced characters.
        """
        if pattern.search(self.text) is None:
            return
        expand = replacement if callable(replacement) else _template(replacement)
        self._rewrite((m.start(), m.end(), expand(m)) for m in pattern.finditer(self.text))

    def insert_spaces(self, offsets: Iterable[int]) -> None:
        """Insert a space before the character at each of the given offsets, which must be sorted."""
        self._rewrite((offset, offset, " ") for offset in offsets)

    def delete(self, offsets: Iterable[int]) -> None:
        """Delete the characters at the given offsets, which must be sorted."""
        self._rewrite((offset, offset + 1, "") for offset in offsets)

    def strip(self) -> None:
        """Remove white space from both ends."""
        left = len(self.text) - len(self.text.lstrip())
        right = len(self.text.rstrip())
        if left or right < len(self.text):
            starts, ends = self.spans()
            right = max(left, right)
            self.text, self._starts, self._ends = self.text[left:right], starts[left:right], ends[left:right]

    def spans(self) -> tuple[list[int], list[int]]:
        """Return the starts and the ends of the spans of all characters."""
        if self._starts is None or self._ends is None:
            return list(range(len(self.text))), list(range(1, len(self.text) + 1))
        return self._starts, self._ends

    def _rewrite(self, edits: Iterable[tuple[int, int, str]]) -> None:
        """Apply sorted edits (start, end, new text)."""
        text, (starts, ends) = self.text, self.spans()
        parts: list[str] = []
        new_starts: list[int] = []
        new_ends: list[int] = []
        done = 0
        for begin, end, new in edits:
            old = text[begin:end]
            if old == new:
                continue
            head = 0
            while head < len(old) and head < len(new) and old[head] == new[head]:
                head += 1
            tail = 0
            while tail < len(old) - head and tail < len(new) - head and old[-1 - tail] == new[-1 - tail]:
                tail += 1
            begin, end, new = begin + head, end - tail, new[head : len(new) - tail]
            parts += (text[done:begin], new)
            new_starts += starts[done:begin]
            new_ends += ends[done:begin]
            if new:
                first = starts[begin] if begin < len(starts) else (ends[-1] if ends else 0)
                last = ends[end - 1] if end else first
                new_starts += [first] * len(new)
                new_ends += [max(first, last)] * len(new)
            done = end
        parts.append(text[done:])
        self.text = "".join(parts)
        self._starts = new_starts + starts[done:]
        self._ends = new_ends + ends[done:]


@lru_cache(maxsize=256)
def _template(replacement: str) -> Callable[[re.Match[str]], str]:
    """Return the function that expands a replacement. `Match.expand` parses it again for each match."""
    first, *others = re.split(r"\\g<(\d)>", replacement)
    pairs = [(int(group), literal) for group, literal in zip(others[::2], others[1::2], strict=True)]
    return lambda match: first + "".join(match[group] + literal for group, literal in pairs)
