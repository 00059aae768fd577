"""Text that remembers where each of its characters came from.

Every rule that rewrites a text (punctuation, deletions, inserted spaces) goes through `AlignedText`, so a token cut
from the result can be traced to characters of the original. Rules that change nothing cost one search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping


class AlignedText:
    """A rewritten text and, for each of its characters, the span of the original text it stands for.

    Spans are monotone: starts never decrease, ends never decrease. Characters that a rule inserted have an empty
    span, or share that of the characters a rule replaced as a whole.
    """

    __slots__ = ("_ends", "_starts", "text")

    def __init__(self, text: str):
        self.text = text
        self._starts: list[int] | None = None  # None: nothing moved yet, character i stands for [i, i + 1)
        self._ends: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Give the span of the original that the characters `[start, end)` of the present text stand for."""
        if self._starts is None or self._ends is None:
            return start, end
        if start < end:
            return self._starts[start], self._ends[end - 1]
        point = self._starts[start] if start < len(self._starts) else (self._ends[-1] if self._ends else 0)
        return point, max(point, self._ends[start - 1] if start else 0)

    @property
    def moved(self) -> bool:
        """Whether any character stands at another place than in the original."""
        return self._starts is not None

    def translate(self, table: Mapping[int, int | str]) -> None:
        """Replace characters one for one: places do not move."""
        self.text = self.text.translate(table)

    def sub(self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> None:
        """Do what `pattern.sub(replacement, text)` does, and keep track.

        Within a match, characters alike at its beginning and end keep their own places; what lies between is
        replaced as a whole, and each new character stands for all of it.
        """
        if pattern.search(self.text) is None:
            return
        expand = replacement if callable(replacement) else lambda match: match.expand(replacement)
        self._rewrite((m.start(), m.end(), expand(m)) for m in pattern.finditer(self.text))

    def insert_spaces(self, places: Iterable[int]) -> None:
        """Put one space before each of the given characters, in rising order."""
        self._rewrite((place, place, " ") for place in places)

    def delete(self, places: Iterable[int]) -> None:
        """Take out the given characters, in rising order."""
        self._rewrite((place, place + 1, "") for place in places)

    def strip(self) -> None:
        """Take white space off both ends."""
        left = len(self.text) - len(self.text.lstrip())
        right = len(self.text.rstrip())
        if left or right < len(self.text):
            starts, ends = self._materialised()
            right = max(left, right)
            self.text, self._starts, self._ends = self.text[left:right], starts[left:right], ends[left:right]

    def _materialised(self) -> tuple[list[int], list[int]]:
        if self._starts is None or self._ends is None:
            return list(range(len(self.text))), list(range(1, len(self.text) + 1))
        return self._starts, self._ends

    def _rewrite(self, edits: Iterable[tuple[int, int, str]]) -> None:
        text, (starts, ends) = self.text, self._materialised()
        pieces: list[str] = []
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
            pieces += (text[done:begin], new)
            new_starts += starts[done:begin]
            new_ends += ends[done:begin]
            if new:
                first = starts[begin] if begin < len(starts) else (ends[-1] if ends else 0)
                last = ends[end - 1] if end else first
                new_starts += [first] * len(new)
                new_ends += [max(first, last)] * len(new)
            done = end
        pieces.append(text[done:])
        self.text = "".join(pieces)
        self._starts = new_starts + starts[done:]
        self._ends = new_ends + ends[done:]
