"""Byte-pair encoding of one word, exactly as the released merge tables were meant.

A word's last character carries the mark `</w>`. While any adjacent pair of symbols stands in the merge table, the
pair learnt first is merged, everywhere in the word at once, from left to right (Sennrich et al. 2016).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from xlm_core.errors import TokenizerError
from xlm_core.files.regular_files import check_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

END_OF_WORD = "</w>"


def read_merges(path: Path) -> dict[tuple[str, ...], int]:
    """Read `merges.txt`: a pair and its count a line, most frequent first. The count is not used.

    Returns:
        Each pair's rank. As in the reference, what follows the last line break is no merge, and of a pair that
        stands twice the later rank holds.
    """
    try:
        check_regular(path)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no merge table here; the tokenizer needs merges.txt and vocab.json") from None
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 at byte {error.start}; expected a BPE merge table") from None
    if lines and lines[0].startswith("\ufeff"):
        raise TokenizerError(
            f"{path}: begins with a byte order mark, which no merge does; save it as UTF-8 without one"
        )
    merges = {tuple(line.split()[:2]): rank for rank, line in enumerate(lines)}
    if not any(len(pair) == 2 for pair in merges):
        raise TokenizerError(f"{path}: holds no merges ({len(lines)} lines); expected two symbols a line")
    return merges


def encode_word(word: str, ranks: Mapping[tuple[str, ...], int]) -> list[str]:
    """Split a non-empty word into the symbols that the merge table builds.

    The time grows as n log n in the word's length, so that a text of one endless word stays harmless.
    """
    symbols = [*word[:-1], word[-1] + END_OF_WORD]
    size = len(symbols)
    if size == 1:
        return symbols
    before = list(range(-1, size - 1))  # neighbours, as a linked list over the places of `symbols`
    after = [*range(1, size), -1]
    alive = [True] * size
    queue = [
        (rank, place)
        for place in range(size - 1)
        if (rank := ranks.get((symbols[place], symbols[place + 1]))) is not None
    ]
    heapify(queue)
    while queue:
        best = queue[0][0]
        fresh: list[tuple[int, int]] = []  # pairs made by this round wait for its end, also those learnt earlier
        while queue and queue[0][0] == best:
            _, place = heappop(queue)
            right = after[place] if alive[place] else -1
            if right < 0 or ranks.get((symbols[place], symbols[right])) != best:
                continue
            symbols[place] += symbols[right]
            alive[right] = False
            after[place] = after[right]
            if after[right] >= 0:
                before[after[right]] = place
                fresh.append((place, after[place]))
            if before[place] >= 0:
                fresh.append((before[place], place))
        for left, right in fresh:
            if alive[left] and alive[right] and after[left] == right:
                rank = ranks.get((symbols[left], symbols[right]))
                if rank is not None:
                    heappush(queue, (rank, left))
    return [symbol for symbol, living in zip(symbols, alive, strict=True) if living]
